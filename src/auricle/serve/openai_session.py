"""One OpenAI Realtime transcription session: its messages, and what they do to the live session.

Settings can change until audio has come; they decide how the live session is opened, so it is opened anew, in the same
place. A commit or a clear ends the utterance in the engine at exactly that sample; the answer is sent when it gets
there, so that all events of an item stand in order. Errors in what a client sends are answered and the session goes
on; an idle or too long session, a failure of the engine and a refusal end it, after what was heard so far was told.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, ClassVar

from auricle.audio import PcmDecoder
from auricle.live.events import Failed, Final
from auricle.live.session import LimitError
from auricle.serve.openai_events import (
    APPEND,
    MAX_APPEND_BYTES,
    Ids,
    RequestError,
    error_object,
    event_id,
    event_type,
    id_within,
    read_audio,
    read_event,
)
from auricle.serve.openai_items import CLEAR, COMMIT, Items, empty_commit
from auricle.serve.openai_settings import beta_param, difference, from_beta, merged, plan, shown, shown_beta
from auricle.serve.websockets import Closing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence

    from auricle.errors import AuricleError
    from auricle.live.events import Heard
    from auricle.live.hub import LiveHub
    from auricle.serve.conversation import Conversation
    from auricle.serve.live_audio import LiveDecoder
    from auricle.serve.openai_events import WireEvent
    from auricle.serve.openai_settings import Input, Plan

    Action = Callable[["TranscriptionSession", WireEvent, Conversation], Coroutine[Any, Any, None] | None]

MAX_OPEN_MARKS = 32
CLOSE_POLICY = 1008
CLOSE_FAILED = 1011
SAMPLE_BYTES = {"s16le": 2, "mulaw": 1, "alaw": 1}


class TranscriptionSession:
    """Speaks with one client, whose live session was opened for `settings`."""

    decoder: LiveDecoder | None = None
    empty_ends = False

    def __init__(self, hub: LiveHub, settings: Input, model_names: Collection[str]) -> None:
        self._hub = hub
        self._info = hub.recognizer.info
        self._model_names = model_names
        self._ids = Ids()
        self._opened_s = time.time()
        self._marks = asyncio.Semaphore(MAX_OPEN_MARKS)
        self._has_audio = False
        self._audio: PcmDecoder
        self._adopt(settings, plan(settings, self._info, model_names))

    def greeting(self) -> Sequence[str]:
        """Return what a client is told first."""
        return (self._message({"type": "session.created", "session": self._shown()}),)

    def hear(self, text: str, talk: Conversation) -> Awaitable[None] | None:
        """Act on an event of the client; raises RequestError for what is wrong with it, as what is returned does."""
        event = read_event(text)
        return self._actions[event_type(event, self._actions)](self, event, talk)

    def tell(self, event: Heard) -> Sequence[str]:
        """Return the events of the items."""
        if isinstance(event, Final) and event.mark is not None and event.mark.name is not None:
            self._marks.release()
        return [self._message(told) for told in self._items.tell(event)]

    def complain(self, error: AuricleError, text: str | None) -> str:
        """Return the error as an event, with the id of the client's own."""
        if not isinstance(error, RequestError):
            error = RequestError(error.what, "invalid_event", None, error.value, "send JSON")
        return self._error(error, None if text is None else id_within(text))

    def closing(self, error: AuricleError | None) -> Closing:
        """Return the error, and before it that of the item that was being heard when the engine failed."""
        if error is None:
            return Closing()
        is_limit = isinstance(error, LimitError)
        failed = self._items.tell(Failed(error)) if self._has_audio and not is_limit else []
        messages = (*(self._message(told) for told in failed), self._error(error))
        return Closing(messages, CLOSE_POLICY if is_limit else CLOSE_FAILED, str(error_object(error)["code"]))

    def _append(self, event: WireEvent, talk: Conversation) -> Coroutine[Any, Any, None] | None:
        data = read_audio(event.get("audio"), SAMPLE_BYTES[self._plan.pcm.encoding])
        self._has_audio = self._has_audio or bool(data)
        if len(data) > self._second_bytes:
            return self._append_long(data, talk)
        talk.session.push(self._audio.feed(data))
        return None

    async def _append_long(self, data: bytes, talk: Conversation) -> None:
        for start in range(0, len(data), self._second_bytes):
            await talk.session.feed(self._audio.feed(data[start : start + self._second_bytes]))

    def _commit(self, event: WireEvent, talk: Conversation) -> Coroutine[Any, Any, None] | None:
        if self._has_audio:
            return self._mark(f"{COMMIT}:{event_id(event) or ''}", talk)
        talk.say(self._message(empty_commit(event_id(event))))
        return None

    def _clear(self, _: WireEvent, talk: Conversation) -> Coroutine[Any, Any, None] | None:
        if self._has_audio:
            return self._mark(CLEAR, talk)
        talk.say(self._message({"type": "input_audio_buffer.cleared"}))
        return None

    async def _mark(self, name: str, talk: Conversation) -> None:
        """End the utterance after all audio that has come; waits while too many marks were not reached yet."""
        await self._marks.acquire()
        decoder, self._audio = self._audio, self._new_decoder()
        talk.session.push(decoder.finish())
        talk.session.finalize(name)

    async def _update(self, event: WireEvent, talk: Conversation) -> None:
        await self._change(merged(self._settings, event.get("session")), talk)
        talk.say(self._message({"type": "session.updated", "session": self._shown()}))

    async def _update_beta(self, event: WireEvent, talk: Conversation) -> None:
        try:
            await self._change(merged(self._settings, from_beta(event.get("session"))), talk)
        except RequestError as error:
            param = beta_param(error.param)
            raise RequestError(error.what, error.code, param, error.value, error.remedy) from error
        session = {**self._facts(), **shown_beta(self._settings, self._info)}
        talk.say(self._message({"type": "transcription_session.updated", "session": session}))

    async def _change(self, settings: Input, talk: Conversation) -> None:
        """Carry out new settings; raises RequestError when that cannot be done, or not any more."""
        new = plan(settings, self._info, self._model_names)
        changed = difference(self._settings, settings)
        if changed is None:
            return
        if self._has_audio:
            remedy = "send it before the first audio, or connect again"
            raise RequestError(
                "settings are fixed once audio has come", "session_settings_fixed", changed, None, remedy
            )
        if (new.options, new.endpoints) != (self._plan.options, self._plan.endpoints):
            await talk.reopen(new.options, new.endpoints)
        self._adopt(settings, new)

    def _adopt(self, settings: Input, new: Plan) -> None:
        turns = settings.turn_detection
        self._settings, self._plan = settings, new
        self._items = Items(self._ids, None if turns is None else turns.prefix_padding_ms)
        self._audio = self._new_decoder()
        self._second_bytes = new.pcm.rate * SAMPLE_BYTES[new.pcm.encoding]

    def _new_decoder(self) -> PcmDecoder:
        return PcmDecoder(self._plan.pcm, self._info.sample_rate)

    def _shown(self) -> dict[str, Any]:
        audio = {"input": shown(self._settings, self._info)}
        return {**self._facts(), "type": "transcription", "audio": audio, "include": None}

    def _facts(self) -> dict[str, Any]:
        """Return what both forms of the session tell: beyond OpenAI's fields, its limits and its latency class."""
        limits = self._hub.rules.limits
        expires = None if limits.duration_s is None else int(self._opened_s + limits.duration_s)
        streaming = self._hub.streaming
        return {
            "id": self._ids.session,
            "object": "realtime.transcription_session",
            "expires_at": expires,
            "limits": {
                "idle_timeout_s": limits.idle_s,
                "duration_s": limits.duration_s,
                "append_bytes": MAX_APPEND_BYTES,
            },
            "latency": {
                "chunk_ms": streaming.chunk(self._plan.options.chunk_ms),
                "lookahead_ms": streaming.lookahead(self._plan.options.chunk_ms),
            },
        }

    def _error(self, error: AuricleError, client_event_id: str | None = None) -> str:
        return self._message({"type": "error", "error": error_object(error, client_event_id)})

    def _message(self, event: WireEvent) -> str:
        return json.dumps({"event_id": self._ids.next("event"), **event})

    # Of functions: methods that a session held of itself would keep it until garbage is collected.
    _actions: ClassVar[dict[str, Action]] = {
        APPEND: _append,
        "input_audio_buffer.commit": _commit,
        "input_audio_buffer.clear": _clear,
        "session.update": _update,
        "transcription_session.update": _update_beta,
    }
