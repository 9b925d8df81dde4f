"""Deepgram's live dialect, `/v1/listen`: binary audio and three control messages in, `Results` out.

What is not Deepgram's: `chunk_ms`, `every_partial`, `resumable` (see `serve.query`) and `stamps` in the query (then the
metadata of results tells the server's own times, in seconds of its monotonic clock), response headers that tell the
limits, `Session` messages (see `serve.websockets`), and a `confidence` of 0 where the engine gives none. Several
channels are averaged. Without `endpointing` the server's setting holds, not 10 ms. A final that only the cap of 20 s
ended has no `speech_final`. `sha256` in the metadata is empty: no digest is made.
"""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from auricle.errors import AudioError, AuricleError
from auricle.live.events import Final, Partial, SpeechStarted, SpeechStopped
from auricle.live.session import LimitError
from auricle.serve.auth import bearer
from auricle.serve.conversation import converse
from auricle.serve.deepgram_query import Listen, read_query
from auricle.serve.live_audio import live_decoder
from auricle.serve.upgrade import offered
from auricle.serve.websockets import (
    Call,
    Closing,
    MessageError,
    Written,
    end,
    live_hub,
    refusal,
    resume,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import HTTPConnection
    from starlette.responses import Response

    from auricle.engines.contract import ModelInfo
    from auricle.live.events import Heard
    from auricle.serve.conversation import Conversation
    from auricle.serve.live_audio import LiveDecoder
    from auricle.serve.service import Service
    from auricle.serve.upgrade import Opening
    from auricle.transcript import Word

FINALIZE = "Finalize"
MAX_FINALIZES = 100
"""As many may wait for their final."""
EXCERPT = 200
_CHANNEL = [0, 1]
_REFUSED = {400: "INVALID_QUERY_PARAMETER", 401: "INVALID_AUTH", 404: "SESSION_NOT_FOUND", 503: "SERVICE_UNAVAILABLE"}


async def handle(opening: Opening, service: Service) -> None:
    """Serve one connection: refuse it with an HTTP status, or accept it and converse until it ends."""
    request_id = str(uuid.uuid4())
    try:
        key, subprotocol = _key(opening.request)
        service.authorise(key, opening.request)
        listen = read_query(opening.request.query_params.multi_items(), service)
        call = await _call(service, listen, request_id)
    except AuricleError as error:
        opening.deny(_refusal(error, request_id))
        return
    headers = [("dg-request-id", request_id)]
    greeting = call.greeting(listen.own.finals)
    await converse(opening, live_hub(service), call, greeting, subprotocol=subprotocol, headers=headers)


class DeepgramStream:
    """One stream in Deepgram's words; an empty binary message is its older CloseStream."""

    empty_ends = True

    def __init__(self, listen: Listen, info: ModelInfo, request_id: str) -> None:
        self.decoder: LiveDecoder | None = live_decoder(listen.pcm, info.sample_rate)
        self._listen = listen
        self._request_id = request_id
        self._metadata = _dump(_results_metadata(info, request_id))
        self._created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._start_s = 0.0
        self._audio_s = 0.0
        self._last_word_end_s = 0.0
        self._ended = True
        self._finalizes = 0
        self._words = Written(_word)

    def hear(self, text: str, talk: Conversation) -> None:
        """Act on KeepAlive, Finalize or CloseStream; raises MessageError for anything else."""
        kind = _kind(text)
        if kind == "KeepAlive":
            talk.session.keep_alive()
        elif kind == FINALIZE:
            if self._finalizes >= MAX_FINALIZES:
                raise MessageError("too many Finalize wait for their results", self._finalizes, "read the results")
            talk.session.finalize(FINALIZE)
            self._finalizes += 1
        elif kind == "CloseStream":
            end(talk.session, self.decoder)
        else:
            raise MessageError("unknown message type", kind[:EXCERPT], "send KeepAlive, Finalize or CloseStream")

    def tell(self, event: Heard) -> Sequence[str]:
        """Return SpeechStarted, Results and UtteranceEnd, as far as they are due and were asked for."""
        if isinstance(event, SpeechStarted | SpeechStopped):
            if not self._listen.vad_events or isinstance(event, SpeechStopped):
                return ()
            return (_dump({"type": "SpeechStarted", "channel": _CHANNEL, "timestamp": round(event.time_s, 4)}),)
        self._audio_s = event.audio_s
        messages = []
        if isinstance(event, Final):
            messages.append(self._final(event))
        elif self._listen.interim_results:
            messages.append(self._results(event, "false", "false", "false"))
        if self._utterance_ended(event.words):
            ended = {"type": "UtteranceEnd", "channel": _CHANNEL, "last_word_end": self._last_word_end_s}
            messages.append(_dump(ended))
        return messages

    def complain(self, error: AuricleError, text: str | None) -> str:
        """Return an Error; one that a text message caused is a SchemaError and quotes it."""
        if text is None:
            return _error("DataError", str(error))
        return _error("SchemaError", str(error), message=text[:EXCERPT])

    def closing(self, error: AuricleError | None) -> Closing:
        """Return Metadata after the last final; for an error an Error and a close reason that begins as Deepgram's."""
        if error is None:
            return Closing((_dump(self._last_metadata()),))
        if isinstance(error, AudioError):
            return Closing((_error("DataError", str(error)),), 1008, f"DATA-0000 {error}")
        if isinstance(error, LimitError) and error.limit == "idle":
            return Closing((_error("Timeout", str(error)),), 1011, f"NET-0001 {error}")
        if isinstance(error, LimitError):
            return Closing((_error("LimitExceeded", str(error)),), 1008, f"LIMIT {error}")
        return Closing((_error("InternalError", str(error)),), 1011, f"ENGINE {error}")

    def _final(self, event: Final) -> str:
        asked = event.mark is not None
        capped_s = self._listen.endpoints.longest_s
        capped = not asked and capped_s is not None and event.audio_s - event.start_s >= capped_s
        finalized = event.mark is not None and event.mark.name == FINALIZE
        self._finalizes -= finalized
        self._start_s = event.start_s
        message = self._results(event, "true", _bool(bool(event.text) and not capped), _bool(finalized))
        self._start_s = event.audio_s
        return message

    def _results(self, event: Partial | Final, is_final: str, speech_final: str, from_finalize: str) -> str:
        """Return Results; written by hand around the two parts that are JSON of their own, for there are many."""
        known = [word.confidence for word in event.words if word.confidence is not None]
        confidence = sum(known) / len(known) if known else 0.0
        return (
            f'{{"type":"Results","channel_index":[0,1],"start":{self._start_s:.4f},'
            f'"duration":{event.audio_s - self._start_s:.4f},"is_final":{is_final},"speech_final":{speech_final},'
            f'"from_finalize":{from_finalize},"channel":{{"alternatives":[{{"transcript":{json.dumps(event.text)},'
            f'"confidence":{confidence:.4f},"words":[{self._words.joined(event.words)}]}}]}},"metadata":{self._stamped(event)}}}'
        )

    def _stamped(self, event: Partial | Final) -> str:
        """Return the metadata, with our own times where they were asked for."""
        if not self._listen.stamps or event.stamps is None:
            return self._metadata
        received, tick, step, stepped = event.stamps
        times = {"received": received, "ready": received, "tick": tick, "step": step, "stepped": stepped}
        return f'{self._metadata[:-1]},"stamps":{_dump({**times, "sent": time.perf_counter()})}}}'

    def _utterance_ended(self, words: Sequence[Word]) -> bool:
        gap_s = self._listen.utterance_end_s
        if gap_s is None:
            return False
        if words and words[-1].end != self._last_word_end_s:
            self._last_word_end_s, self._ended = words[-1].end, False
        if self._ended or self._audio_s - self._last_word_end_s < gap_s:
            return False
        self._ended = True
        return True

    def _last_metadata(self) -> dict[str, Any]:
        return {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self._request_id,
            "sha256": "",
            "created": self._created,
            "duration": round(self._audio_s, 4),
            "channels": 1,
            **({"tags": self._listen.tags} if self._listen.tags else {}),
            **({"extra": self._listen.extra} if self._listen.extra else {}),
        }


async def _call(service: Service, listen: Listen, request_id: str) -> Call:
    hub = live_hub(service)
    stream = DeepgramStream(listen, service.recognizer.info, request_id)
    if listen.own.resume is not None:
        return resume(hub, listen.own, listen.options, DeepgramStream, stream.decoder)
    every = listen.own.every_partial or listen.utterance_end_s is not None
    session = await hub.open(listen.stream, listen.endpoints, every_partial=every)
    call = Call(session, stream, listen.options, listen.own.resumable)
    session.carried = call if call.resumable else None
    return call


def _refusal(error: AuricleError, request_id: str) -> Response:
    status, headers, facts = refusal(error)
    body = {"err_code": _REFUSED[status], "err_msg": str(error), "request_id": request_id, **facts}
    line = "".join(c if c.isprintable() else "?" for c in str(error)).encode("ascii", "backslashreplace").decode()
    headers = {**headers, "dg-request-id": request_id, "dg-error": line[: 2 * EXCERPT]}
    return JSONResponse(body, status, headers)


def _key(request: HTTPConnection) -> tuple[str | None, str | None]:
    """Return the key, of the header or of the subprotocol pair `token, <key>`, and the subprotocol to accept."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "token":
        return key.strip(), None
    if scheme:
        return bearer(request.headers["authorization"]), None
    protocols = offered(request)
    if len(protocols) == 2 and protocols[0].lower() in {"token", "bearer"}:  # noqa: PLR2004  a pair
        return protocols[1], protocols[0]
    return None, None


def _kind(text: str) -> str:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise MessageError("the message is not JSON", None, "send an object with a type") from None
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str):
        raise MessageError("the message has no type", None, "send an object with a type")
    return kind


def _word(word: Word) -> str:
    return (
        f'{{"word":{json.dumps(word.text)},"start":{word.start:.4f},"end":{word.end:.4f},'
        f'"confidence":{word.confidence or 0.0:.4f}}}'
    )


def _results_metadata(info: ModelInfo, request_id: str) -> dict[str, Any]:
    model = uuid.uuid5(uuid.NAMESPACE_OID, f"{info.engine}/{info.name}")
    return {
        "request_id": request_id,
        "model_info": {"name": info.name, "version": info.precision, "arch": info.family},
        "model_uuid": str(model),
    }


def _error(variant: str, description: str, **more: str) -> str:
    return _dump({"type": "Error", "variant": variant, "description": description, **more})


def _bool(value: object) -> str:
    return "true" if value else "false"


def _dump(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))
