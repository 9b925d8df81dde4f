"""The HTTP routes: files to text, and what the server tells of itself.

With keys, `/v1/audio/...` and `/metrics` need one; `/health`, `/ready` and `/v1/models` are open to probes and tell no
secrets. There are no server-sent events: `stream=true` and `Accept: text/event-stream` are refused with 400.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from auricle import __version__
from auricle.errors import AuricleError, CancelledError
from auricle.serve.auth import bearer
from auricle.serve.errors import CLIENT_GONE, RequestError
from auricle.serve.files import upload_name
from auricle.serve.formats import answer, check_model, read_form

if TYPE_CHECKING:
    from starlette.types import Message, Receive

    from auricle.serve.service import Service

MULTIPART = "multipart/form-data"
MAX_FIELDS = 200
BYTES_PER_MB = 1_000_000
LEAST_BYTES_PER_S = 10_000
"""A client that sends less, on average, would keep a place for files by dripping."""
DISCARD_S = 2.0
MODEL_FACTS = (
    "engine", "name", "family", "languages", "sample_rate", "device", "provider", "precision", "threads", "workers",
    "max_audio_s",
)  # fmt: skip
DISCARD_BYTES = 64 * BYTES_PER_MB


class Body:
    """A request's body on its way in: bounded in size, given up when the client stops sending or only drips."""

    def __init__(self, receive: Receive, max_bytes: float, idle_s: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._idle_s = idle_s
        self._received = 0
        self._complete = False
        self._began_s = time.monotonic()

    async def receive(self) -> Message:
        """Return the next message; raises RequestError with 408 or 413."""
        try:
            async with asyncio.timeout(self._idle_s):
                message = await self._next()
        except TimeoutError:
            remedy = f"send without pauses of more than {self._idle_s:g} s"
            raise RequestError(408, "upload_timeout", "the upload stopped", None, remedy) from None
        took_s = time.monotonic() - self._began_s
        if took_s > self._idle_s and self._received < took_s * LEAST_BYTES_PER_S:
            found, remedy = f"{self._received / took_s:.0f} bytes a second", f"send {LEAST_BYTES_PER_S} or more"
            raise RequestError(408, "upload_timeout", "the upload is too slow", found, remedy)
        if self._received > self._max_bytes:
            raise _too_large(self._max_bytes)
        return message

    async def discard(self) -> None:
        """Read on for a while: a client that is cut off while it sends may never see why it was refused."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while not self._complete and self._received < DISCARD_BYTES:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        return message


class Routes:
    """The HTTP routes of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return all of them."""
        return [
            Route("/v1/audio/transcriptions", self.transcriptions, methods=["POST"]),
            Route("/v1/audio/translations", self.translations, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/metrics", self.metrics),
        ]

    async def transcriptions(self, request: Request) -> Response:
        """Recognise one uploaded file."""
        settings = self._service.settings
        max_bytes = settings.max_upload_mb * BYTES_PER_MB
        body = Body(request.receive, max_bytes, settings.upload_idle_s)
        try:
            self._authorise(request)
            _check_head(request, max_bytes)
            with self._service.files.place():
                return await self._transcribe(request, body)
        except (ClientDisconnect, CancelledError):
            return Response(status_code=CLIENT_GONE)
        except (AuricleError, HTTPException):
            await body.discard()
            raise

    async def translations(self, request: Request) -> Response:
        """Refuse: no engine translates."""
        await Body(request.receive, DISCARD_BYTES, DISCARD_S).discard()
        self._authorise(request)
        remedy = "use /v1/audio/transcriptions"
        raise RequestError(422, "unsupported", "the model that is served does not translate", None, remedy)

    async def models(self, _: Request) -> Response:
        """List the names under which the model is served."""
        return JSONResponse({"object": "list", "data": [_model(name) for name in self._service.model_names]})

    async def model(self, request: Request) -> Response:
        """Describe one name."""
        name = request.path_params["name"]
        check_model(name, self._service.model_names)
        return JSONResponse(_model(name))

    async def health(self, _: Request) -> Response:
        """Tell what really runs, how loaded it is and what it can carry."""
        service = self._service
        info = service.recognizer.info
        return JSONResponse(
            {
                "status": service.status,
                "version": __version__,
                "model": {name: getattr(info, name) for name in MODEL_FACTS} | {"features": sorted(info.features)},
                "live": self._live(),
                "files": {"open": service.files.open, "limit": service.settings.max_files},
            }
        )

    async def ready(self, _: Request) -> Response:
        """Answer 200 while new work is let in, 503 at other times."""
        if (status := self._service.status) != "ok":
            return JSONResponse({"status": status}, 503)
        return JSONResponse({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """Give everything to Prometheus."""
        self._authorise(request)
        return Response(self._service.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _transcribe(self, request: Request, body: Body) -> Response:
        service = self._service
        info = service.recognizer.info
        reading = Request(request.scope, body.receive)
        async with reading.form(max_files=1, max_fields=MAX_FIELDS) as form:
            wanted = read_form(form, info, service.model_names)
            name = upload_name(wanted.upload.filename)
            gone = partial(_disconnected, request.receive)
            transcript = await service.files.recognise(wanted.upload.file, name, wanted.options, gone)
        return await asyncio.to_thread(answer, wanted, transcript, info)

    def _authorise(self, request: Request) -> None:
        self._service.authorise(bearer(request.headers.get("authorization")), request)

    def _live(self) -> dict[str, Any] | None:
        hub = self._service.hub
        if hub is None:
            return None
        load, streaming = hub.load(), hub.streaming
        return {
            "streams": load.streams,
            "slots": streaming.slots,
            "replicas": self._service.settings.replicas,
            "max_streams": hub.rules.admission.max_streams,
            "duty": round(load.duty, 4),
            "max_duty": hub.rules.admission.max_duty,
            "chunk_ms": streaming.chunk_ms,
            "lookahead_ms": dict(zip(map(str, streaming.chunk_ms), streaming.lookahead_ms, strict=True)),
            "capacity": {str(ms): hub.engine.capacity(ms) for ms in streaming.chunk_ms},
        }


def _too_large(max_bytes: float) -> RequestError:
    """Say how large an upload may be."""
    limit = f"limit {max_bytes / BYTES_PER_MB:g} MB"
    return RequestError(413, "upload_too_large", "the upload is too large", limit, "send less", param="file")


def _check_head(request: Request, max_bytes: float) -> None:
    """Refuse by the request line and headers alone what need not be read."""
    if request.query_params:
        names = ", ".join(repr(name[:60]) for name in list(request.query_params)[:5])
        raise RequestError(400, "unknown_parameter", "unknown query parameter", names, "send form fields")
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != MULTIPART:
        found = repr(media_type[:60])
        raise RequestError(415, "unsupported_media_type", "the body is not multipart/form-data", found, "send a form")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)


async def _disconnected(receive: Receive) -> None:
    """Return when the client is gone; the body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "auricle"}
