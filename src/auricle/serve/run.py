"""Running the application in this process: signals and draining."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from auricle.engines.loading import load
from auricle.errors import AuricleError
from auricle.serve.app import create_app, live_sockets
from auricle.serve.metrics import MeteredTracer, Metrics
from auricle.serve.service import Service
from auricle.serve.system import allow_many_connections, announcement, collect_seldom, configure_logs, listen
from auricle.serve.upgrade import Upgrade

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from types import FrameType

    from starlette.types import ASGIApp

    from auricle.serve.settings import Settings

BACKLOG = 2048
CLOSING_S = 2
log = logging.getLogger("auricle.serve")


class Server(uvicorn.Server):
    """A uvicorn server that drains before it closes connections; a second signal ends the process at once."""

    def __init__(self, app: ASGIApp, service: Service, on_start: Callable[[], None] = lambda: None) -> None:
        live = live_sockets(service)
        self._upgrade = partial(Upgrade, live if service.relay is None else service.relay.around(live))
        super().__init__(_config(app, self._upgrade))
        self._service = service
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Make ready, listen, and tell; raises what the engine raises when it is measured."""
        try:
            await self._service.start()
        except AuricleError:
            await self._service.stop()
            raise
        await super().startup(sockets)
        if self._service.relay is not None:
            self._service.relay.listen(lambda: self._upgrade(self.config, self.server_state, {}))
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
    with listen(settings) as listener:
        recognizer = load(settings.request, MeteredTracer(metrics))
        try:
            service = Service(settings, recognizer, metrics)
            configure_logs()
            allow_many_connections()
            collect_seldom()
            line = announcement(recognizer.info, listener)
            Server(create_app(service), service, lambda: tell(line)).run([listener])
        finally:
            recognizer.unload()


def _config(app: ASGIApp, upgrade: Callable[..., Upgrade]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ws=cast("Any", upgrade),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=CLOSING_S,
    )
