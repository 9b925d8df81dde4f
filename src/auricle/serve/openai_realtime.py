"""`wss /v1/realtime?intent=transcription`: OpenAI's Realtime transcription sessions, for its own clients unmodified.

Who may not come in, or finds no room, is told so before the upgrade, with an HTTP status and OpenAI's error body. A
place for the stream is taken when the client connects, with the default settings, and kept when the settings change.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from auricle.errors import AuricleError
from auricle.live.admission import RETRY_AFTER_S, RefusedError
from auricle.serve.auth import AuthError, bearer
from auricle.serve.conversation import converse
from auricle.serve.openai_events import RequestError, error_object
from auricle.serve.openai_session import TranscriptionSession
from auricle.serve.openai_settings import Input, plan
from auricle.serve.upgrade import offered
from auricle.serve.websockets import Call

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from auricle.live.hub import LiveHub
    from auricle.serve.service import Service
    from auricle.serve.upgrade import Opening

SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."


async def handle(opening: Opening, service: Service) -> None:
    """Serve one client from its request to connect to its end."""
    settings = Input()
    try:
        hub = _admissible(opening, service)
        wanted = plan(settings, hub.recognizer.info, service.model_names)
        session = await hub.open(wanted.options, wanted.endpoints)
    except AuricleError as error:
        opening.deny(_denial(error))
        return
    dialect = TranscriptionSession(hub, settings, service.model_names)
    subprotocol = SUBPROTOCOL if SUBPROTOCOL in offered(opening.request) else None
    call = Call(session, dialect, Counter(), resumable=False)
    await converse(opening, hub, call, dialect.greeting(), subprotocol=subprotocol)


def _admissible(opening: Opening, service: Service) -> LiveHub:
    """Return the hub; raises AuthError, or RequestError for what this route or this server does not do."""
    service.authorise(_key(opening.request), opening.request)
    query = opening.request.query_params
    if query.get("intent") != "transcription":
        remedy = "connect to /v1/realtime?intent=transcription"
        raise RequestError("only transcription sessions are served", "invalid_value", "intent", None, remedy)
    model = query.get("model")
    if model is not None and model not in service.model_names:
        raise RequestError("no such model here", "model_not_found", "model", model, f"use {service.model_names[0]}")
    if service.hub is None:
        remedy = "use POST /v1/audio/transcriptions, or serve a streaming model"
        raise RequestError("this model does not serve live streams", "unsupported_value", "model", None, remedy)
    return service.hub


def _key(request: HTTPConnection) -> str | None:
    """Return the key of the Authorization header, or of the subprotocol with which browsers send it."""
    keys = (name for name in offered(request) if name.startswith(KEY_SUBPROTOCOL))
    return bearer(request.headers.get("authorization")) or next(keys, "").removeprefix(KEY_SUBPROTOCOL) or None


def _denial(error: AuricleError) -> JSONResponse:
    told = error_object(error)
    del told["event_id"]
    if isinstance(error, AuthError):
        return JSONResponse({"error": {**told, "type": "invalid_request_error", "code": "invalid_api_key"}}, 401)
    if isinstance(error, RequestError):
        return JSONResponse({"error": told}, 404 if error.code == "model_not_found" else 400)
    retry_after_s = error.retry_after_s if isinstance(error, RefusedError) else RETRY_AFTER_S
    return JSONResponse({"error": told}, 503, {"Retry-After": str(retry_after_s)})
