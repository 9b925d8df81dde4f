"""The messages of OpenAI's Realtime protocol: client events read and checked, server events and errors made."""

from __future__ import annotations

import itertools
import json
import re
import secrets
from typing import TYPE_CHECKING, Any

import pybase64

from auricle.errors import UnsupportedError
from auricle.live.admission import RefusedError
from auricle.live.session import LimitError
from auricle.serve.websockets import MessageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from auricle.errors import AuricleError

MAX_APPEND_BYTES = 15 * 1024 * 1024
MAX_APPEND_CHARACTERS = -(-MAX_APPEND_BYTES // 3) * 4
MAX_SHOWN_CHARACTERS = 80
ID_BYTES = 8

WireEvent = dict[str, Any]
APPEND = "input_audio_buffer.append"
_PLAIN_APPEND = re.compile(r'\{[ ]?"type":[ ]?"input_audio_buffer\.append",[ ]?"audio":[ ]?"')
_PLAIN_END = '"}'


class RequestError(MessageError):
    """A client asked for something that is malformed or not done here; `code` and `param` are OpenAI's."""

    def __init__(
        self, what: str, code: str, param: str | None = None, value: object = None, remedy: str | None = None
    ) -> None:
        super().__init__(what, value, remedy)
        self.code = code
        self.param = param


class Ids:
    """Identifiers that no other session has: `<kind>_<random>` for the first, numbered from there."""

    def __init__(self) -> None:
        self._session = secrets.token_hex(ID_BYTES)
        self._numbers = itertools.count(1)

    @property
    def session(self) -> str:
        """The session's own."""
        return f"sess_{self._session}"

    def next(self, kind: str) -> str:
        """Return a new one, such as `item_<random>_7`."""
        return f"{kind}_{self._session}_{next(self._numbers)}"


def read_event(message: str) -> WireEvent:
    """Return a client event, its fields unchecked; raises RequestError.

    The audio of an append event that says nothing else is decoded already: bytes in place of base64.
    """
    if (audio := _plain_audio(message)) is not None:
        return {"type": APPEND, "audio": audio}
    try:
        event = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise RequestError("the message is not JSON", "invalid_json", None, error) from error
    if not isinstance(event, dict):
        raise RequestError("the message is not a JSON object", "invalid_event")
    return event


def event_type(event: WireEvent, known: Collection[str]) -> str:
    """Return the type of a client event, which is one of `known`; raises RequestError."""
    kind = event.get("type")
    if kind is None:
        raise RequestError("the event has no type", "missing_required_parameter", "type")
    if not isinstance(kind, str) or kind not in known:
        remedy = f"a transcription session takes {', '.join(known)}"
        raise RequestError("unknown type of event", "invalid_value", "type", repr(kind)[:MAX_SHOWN_CHARACTERS], remedy)
    return kind


def event_id(message: WireEvent) -> str | None:
    """Return the client's own id of its event, None when it gave none or not a string."""
    given = message.get("event_id")
    return given if isinstance(given, str) else None


def id_within(message: str) -> str | None:
    """Return the client's own id of an event that may be none."""
    try:
        return event_id(read_event(message))
    except RequestError:
        return None


def read_audio(audio: object, sample_bytes: int) -> bytes:
    """Return the `audio` of an append event; raises RequestError for bad base64, a cut sample, and too much at once."""
    data = audio if isinstance(audio, bytes) else _decoded(audio)
    if len(data) % sample_bytes:
        remedy = f"send whole samples of {sample_bytes} bytes"
        raise RequestError(
            "the last sample of the audio is cut", "invalid_audio", "audio", f"{len(data)} bytes", remedy
        )
    return data


def _plain_audio(message: str) -> bytes | None:
    """Return the audio of the most common message by far without reading it as JSON; None for any other message.

    What decodes as base64 holds no quote, escape or control character, so a parser would find the same string.
    """
    head, end = _PLAIN_APPEND.match(message), len(message) - len(_PLAIN_END)
    if head is None or not head.end() <= end <= MAX_APPEND_CHARACTERS or not message.endswith(_PLAIN_END):
        return None
    try:
        return pybase64.b64decode(message[head.end() : end], validate=True)
    except ValueError:
        return None


def _decoded(audio: object) -> bytes:
    if not isinstance(audio, str):
        code = "missing_required_parameter" if audio is None else "invalid_type"
        raise RequestError("audio is not a string of base64", code, "audio", type(audio).__name__)
    if len(audio) > MAX_APPEND_CHARACTERS:
        remedy = f"append at most {MAX_APPEND_BYTES} bytes at once"
        raise RequestError("too much audio in one event", "audio_too_large", "audio", f"{len(audio)} chars", remedy)
    try:
        return pybase64.b64decode(audio, validate=True)
    except ValueError as error:
        raise RequestError("audio is not base64", "invalid_base64", "audio", error) from error


def error_object(error: AuricleError, client_event_id: str | None = None) -> dict[str, str | None]:
    """Return the `error` object of an error event or of an HTTP body."""
    code, param = "engine_error", None
    match error:
        case RequestError():
            code, param = error.code, error.param
        case UnsupportedError():
            code = "unsupported_value"
        case RefusedError():
            code = "capacity_exceeded"
        case LimitError():
            code = {"idle": "idle_timeout", "duration": "session_expired"}[error.limit]
    ours = isinstance(error, RequestError | UnsupportedError | LimitError)
    kind = "invalid_request_error" if ours else "server_error"
    return {"type": kind, "code": code, "message": str(error), "param": param, "event_id": client_event_id}
