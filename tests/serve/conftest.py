"""Servers on real sockets: uvicorn in a thread, port chosen by the system, stopped when the test ends."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from auricle.engines.loading import LoadRequest, load
from auricle.serve.app import create_app
from auricle.serve.metrics import MeteredTracer, Metrics
from auricle.serve.run import Server
from auricle.serve.service import Service
from auricle.serve.settings import Settings, load_settings
from auricle.serve.system import listen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auricle.engines.contract import Recognizer

    Start = Callable[..., "Running"]

STARTUP_S = 60
DEFAULTS: dict[str, object] = {"engine": "null", "port": 0, "drain_s": 0.0, "skip_silence": False, "calibrate": False}


@dataclass(frozen=True)
class Running:
    """A server that runs: its address, and what it is made of."""

    host: str
    port: int
    service: Service
    server: Server

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self.host}:{self.port}"


@contextmanager
def running(settings: Settings, recognizer: Recognizer | None = None) -> Iterator[Running]:
    """Serve in a thread of this process; the recogniser is loaded as the settings say unless one is given."""
    metrics = Metrics()
    request = LoadRequest(settings.engine, settings.model, settings.device, settings.precision, settings.threads)
    loaded = recognizer or load(request, MeteredTracer(metrics))
    service = Service(settings, loaded, metrics)
    socket = listen(settings)
    server = Server(create_app(service), service)
    thread = threading.Thread(target=server.run, args=([socket],), name="test-server")
    thread.start()
    try:
        deadline = time.monotonic() + STARTUP_S
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.01)
        yield Running(settings.host, socket.getsockname()[1], service, server)
    finally:
        server.should_exit = True
        thread.join(STARTUP_S)
        loaded.unload()
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture
def no_traceback_on_the_server(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which a server of this process has logged a defect."""
    yield
    records = [record for record in caplog.get_records("call") if not record.name.startswith("websockets.client")]
    assert not [record.getMessage() for record in records if record.exc_info]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers: `start(recognizer=None, **settings)`; without any, of the null engine, which hears silence too."""
    with ExitStack() as stack:

        def start(recognizer: Recognizer | None = None, **settings: object) -> Running:
            chosen = load_settings({**DEFAULTS, **settings})
            return stack.enter_context(running(chosen, recognizer))

        yield start


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """One server of the null engine for all tests of a module."""
    with running(load_settings(DEFAULTS)) as one:
        yield one
