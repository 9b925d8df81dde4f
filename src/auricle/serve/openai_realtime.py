"""`wss /v1/realtime?intent=transcription`: OpenAI's Realtime transcription sessions, for its own clients unmodified.

Who may not come in, or finds no room, is told so before the upgrade, with an HTTP status and OpenAI's error body. A
place for the stream is taken when the client connects, with the default settings, and kept when the settings change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from auricle.errors import AuricleError
from auricle.live.admission import RETRY_AFTER_S, RefusedError
from auricle.serve.auth import AuthError, bearer
from auricle.serve.openai_events import RequestError, error_object
from auricle.serve.openai_session import TranscriptionSession
from auricle.serve.openai_settings import Input, plan

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from auricle.live.hub import LiveHub
    from auricle.live.session import Session
    from auricle.serve.service import Service

SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."


async def handle(websocket: WebSocket, service: Service) -> None:
    """Serve one client from its request to connect to its end."""
    settings = Input()
    try:
        hub = _admissible(websocket, service)
        session = await _open(hub, settings, service)
    except AuricleError as error:
        await websocket.send_denial_response(_denial(error))
        return
    try:
        offered = SUBPROTOCOL in websocket.scope["subprotocols"]
        await websocket.accept(SUBPROTOCOL if offered else None)
        await TranscriptionSession(websocket, hub, session, settings, service.model_names).run()
    finally:
        session.close()


def _admissible(websocket: WebSocket, service: Service) -> LiveHub:
    """Return the hub; raises AuthError, or RequestError for what this route or this server does not do."""
    client = websocket.client
    service.authorise(_key(websocket), None if client is None else client.host)
    query = websocket.query_params
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


async def _open(hub: LiveHub, settings: Input, service: Service) -> Session:
    wanted = plan(settings, hub.recognizer.info, service.model_names)
    return await hub.open(wanted.options, wanted.endpoints)


def _key(websocket: WebSocket) -> str | None:
    """Return the key of the Authorization header, or of the subprotocol with which browsers send it."""
    offered = (name for name in websocket.scope["subprotocols"] if name.startswith(KEY_SUBPROTOCOL))
    return bearer(websocket.headers.get("authorization")) or next(offered, "").removeprefix(KEY_SUBPROTOCOL) or None


def _denial(error: AuricleError) -> JSONResponse:
    told = error_object(error)
    del told["event_id"]
    if isinstance(error, AuthError):
        return JSONResponse({"error": {**told, "type": "invalid_request_error", "code": "invalid_api_key"}}, 401)
    if isinstance(error, RequestError):
        return JSONResponse({"error": told}, 404 if error.code == "model_not_found" else 400)
    retry_after_s = error.retry_after_s if isinstance(error, RefusedError) else RETRY_AFTER_S
    return JSONResponse({"error": told}, 503, {"Retry-After": str(retry_after_s)})
