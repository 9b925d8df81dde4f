"""Running the application: the socket, signals, draining, and logs that hold no secrets."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from auricle.engines.loading import LoadRequest, load
from auricle.errors import UsageError
from auricle.serve.app import create_app
from auricle.serve.metrics import MeteredTracer, Metrics
from auricle.serve.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from starlette.types import ASGIApp

    from auricle.serve.settings import Settings

BACKLOG = 2048
MAX_MESSAGE_BYTES = 24 * 1024 * 1024
"""The largest WebSocket message: 15 MiB of audio in base64, in JSON."""
PING_S = 20.0
CLOSING_S = 2
log = logging.getLogger("auricle.serve")


class Server(uvicorn.Server):
    """A uvicorn server that drains before it closes connections; a second signal ends the process at once."""

    def __init__(self, app: ASGIApp, service: Service, on_start: Callable[[], None] = lambda: None) -> None:
        super().__init__(_config(app))
        self._service = service
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and tell."""
        await super().startup(sockets)
        self._on_start()

    async def main_loop(self) -> None:
        """Serve until `should_exit`, and go on serving what is open until it ends or the time to drain is over."""
        await super().main_loop()
        if not await self._service.drain():
            log.warning("some sessions or files were cut short: the time to drain was over")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Exit at the first SIGINT or SIGTERM; unlike uvicorn, do not raise it again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {int(number): signal.getsignal(number) for number in HANDLED_SIGNALS}

        def stop(number: int, _: FrameType | None) -> None:
            signal.signal(number, previous[number])
            self.should_exit = True

        for number in HANDLED_SIGNALS:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for handled in HANDLED_SIGNALS:
                signal.signal(handled, previous[handled])


def serve(settings: Settings, tell: Callable[[str], None]) -> None:
    """Load the model, serve until told to stop, drain, unload; `tell` is given a line once the server listens.

    Raises UsageError for an address that cannot be listened on, and what `auricle.engines.loading.load` raises.
    """
    metrics = Metrics()
    request = LoadRequest(settings.engine, settings.model, settings.device, settings.precision, settings.threads)
    with listen(settings) as listener:
        recognizer = load(request, MeteredTracer(metrics))
        try:
            service = Service(settings, recognizer, metrics)
            configure_logs()
            _allow_many_connections()
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            info = recognizer.info
            line = f"serving {info.name} ({info.engine}, {info.device}, {info.precision}) on http://{shown}:{port}"
            Server(create_app(service), service, lambda: tell(line)).run([listener])
        finally:
            recognizer.unload()


def listen(settings: Settings) -> socket.socket:
    """Bind the address of the settings; raises UsageError when that cannot be done. It does not accept yet."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if sys.platform != "win32":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        remedy = "choose another --host or --port"
        raise UsageError("cannot listen", f"{settings.host} port {settings.port} ({error.strerror})", remedy) from error
    return listener


def configure_logs() -> None:
    """Log to stderr; uvicorn's own lines quote query strings, where clients put keys, so only its warnings show."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("uvicorn", "websockets"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_no_refusal)


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """Leave out uvicorn's complaint about a connection that was refused on purpose before the upgrade."""
    return "without completing handshake" not in record.getMessage()


def _allow_many_connections() -> None:
    """Raise the limit of open files, which is often 1,024, to what the system permits; every client needs one."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most != resource.RLIM_INFINITY:  # macOS refuses to set an infinite limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=CLOSING_S,
    )
