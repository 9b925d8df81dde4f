"""What is served where: an ASGI application for files and facts, and the dialects of live streams."""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse

from auricle.errors import AuricleError
from auricle.serve import deepgram, openai_realtime, sherpa
from auricle.serve.errors import SERVER_ERROR, RequestError, refusal, response
from auricle.serve.front import Front, record
from auricle.serve.http import Routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from auricle.serve.service import Service
    from auricle.serve.upgrade import Opening

DIALECTS = {
    "/v1/realtime": openai_realtime.handle,
    "/v1/listen": deepgram.handle,
    "/": sherpa.handle,
    "/sherpa": sherpa.handle,
}
HTTP_CODES = {400: "invalid_body", 404: "not_found", 405: "method_not_allowed"}
log = logging.getLogger("auricle.serve")


def create_app(service: Service) -> Starlette:
    """Return the application; its lifespan makes the live hub on the running loop and stops it at the end."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    return Starlette(
        routes=Routes(service).routes(),
        middleware=[Middleware(Front, metrics=service.metrics)],
        exception_handlers={HTTPException: _http_error, AuricleError: _our_error, Exception: _defect},
        lifespan=lifespan,
    )


def live_sockets(service: Service) -> Callable[[Opening], Awaitable[None]]:
    """Return what serves a WebSocket from its request to its end: it is counted, logged, and handed to its dialect."""

    async def serve(opening: Opening) -> None:
        start_s, status, path = time.perf_counter(), "failed", opening.request.url.path
        handle = DIALECTS.get(path)
        try:
            if handle is None:
                opening.deny(JSONResponse({"error": {"message": f"choose from {', '.join(DIALECTS)}"}}, 404))
            else:
                with service.sockets.one():
                    await handle(opening, service)
            status = "ended"
        finally:
            route = "other" if handle is None else path
            record(service.metrics, opening.client, "WEBSOCKET", path, route, status, start_s)

    return serve


def _http_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    answer = response(RequestError(error.status_code, HTTP_CODES.get(error.status_code, "http_error"), error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _our_error(_: Request, error: Exception) -> Response:
    """Answer an error, and log what the client is not told."""
    if not isinstance(error, AuricleError):
        raise error
    told = refusal(error)
    if told.status >= SERVER_ERROR and told is not error:
        log.error("request failed: %s", error)
    return response(told)


def _defect(_: Request, __: Exception) -> Response:
    """Answer a defect of ours; the framework logs its traceback."""
    return response(RequestError(500, "internal_error", "internal error", None, "the server's log says where"))
