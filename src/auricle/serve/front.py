"""What every request passes first: its number, the access log, its time, and the refusal of server-sent events."""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from auricle.serve.errors import RequestError, response
from auricle.serve.formats import LIVE_ROUTE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from auricle.serve.metrics import Metrics

EVENT_STREAM = "text/event-stream"
LOGGED_CHARACTERS = 120
UNPRINTABLE = re.compile(r"[^!-~]")
log = logging.getLogger("auricle.access")


class Front:
    """Numbers, times and logs HTTP requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the server."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        number, start_s, status = secrets.token_hex(8), time.perf_counter(), 500

        async def numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = number
            await send(message)

        app = _no_events if EVENT_STREAM in Headers(scope=scope).get("accept", "").lower() else self._app
        try:
            await app(scope, receive, numbered)
        finally:
            route, client = getattr(scope.get("route"), "path", "other"), scope.get("client")
            record(self._metrics, client and client[0], scope["method"], scope["path"], route, status, start_s, number)


def record(
    metrics: Metrics,
    client: str | None,
    method: str,
    path: str,
    route: str,
    status: object,
    start_s: float,
    number: str | None = None,
) -> None:
    """Time and log what is over; the log holds no query strings and no headers, where clients put keys."""
    duration_s = time.perf_counter() - start_s
    metrics.requests.labels(_known(method), route, str(status)).observe(duration_s)
    shown = UNPRINTABLE.sub("?", path)[:LOGGED_CHARACTERS]
    number = number or secrets.token_hex(8)
    log.info("%s %s %s %s %.3f s %s", client or "-", _known(method), shown, status, duration_s, number)


async def _no_events(scope: Scope, receive: Receive, send: Send) -> None:
    error = RequestError(400, "unsupported_accept", "there are no server-sent events", EVENT_STREAM, LIVE_ROUTE)
    await response(error)(scope, receive, send)


def _known(method: str) -> str:
    return method if method in {"GET", "HEAD", "POST", "OPTIONS", "WEBSOCKET"} else "other"
