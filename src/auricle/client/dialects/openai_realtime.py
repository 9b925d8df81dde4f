"""OpenAI Realtime transcription sessions: base64 audio in JSON out, deltas and completed items back."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from auricle.client.connection import Address, retry_after_s
from auricle.client.dialects.base import Ended, Ready, Signal, Target, WireEncoding, malformed, parse, with_query
from auricle.client.errors import RefusedError, ServerError
from auricle.client.events import Heard

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PATH = "/v1/realtime"
END = "end-of-audio"
NOTHING_LEFT = "input_audio_buffer_commit_empty"
BUSY_CODES = {"rate_limit_exceeded", "capacity_exceeded"}
_ITEM = "conversation.item.input_audio_transcription."


class OpenAIRealtime:
    """One session, whose deltas do not say which audio they cover.

    It has ended when the last commit, ours, was answered and every committed item is completed. A server with voice
    activity detection commits too; it announces those items with `speech_stopped`.
    """

    encoding: WireEncoding = "s16le"
    default_rate = 24_000
    ready_at_open = False

    def __init__(self, target: Target, rate: int) -> None:
        self._target = target
        self._rate = rate
        self._deltas: dict[str, str] = {}
        self._waiting: set[str] = set()
        self._completed: set[str] = set()
        self._announced: set[str] = set()
        self._ending = False
        self._answered = False

    def address(self) -> Address:
        """A key goes into `Authorization: Bearer`."""
        keys = [] if self._target.key is None else [("Authorization", f"Bearer {self._target.key}")]
        return Address(with_query(self._target, intent="transcription"), [*self._target.headers, *keys])

    def opening(self) -> Sequence[str]:
        """Set the session up; its `session.updated` makes the stream ready."""
        target = self._target
        wanted = {"model": target.model, "language": target.language}
        transcription = {name: value for name, value in wanted.items() if value is not None}
        audio: dict[str, Any] = {"format": {"type": "audio/pcm", "rate": self._rate}}
        if transcription:
            audio["transcription"] = transcription
        if target.endpoints is not None:
            audio["turn_detection"] = {"type": "server_vad"} if target.endpoints else None
        session = {"type": "transcription", "audio": {"input": audio}}
        return (json.dumps({"type": "session.update", "session": session}),)

    def audio(self, chunk: bytes) -> str:
        """Samples travel as base64."""
        return f'{{"type":"input_audio_buffer.append","audio":"{b64encode(chunk).decode("ascii")}"}}'

    def ending(self) -> Sequence[str]:
        """Commit what is left."""
        self._ending = True
        return (json.dumps({"type": "input_audio_buffer.commit", "event_id": END}),)

    def read(self, message: str | bytes) -> Iterable[Signal]:
        """Take one server event; those that say nothing about text or items are left alone."""
        value = parse(message)
        kind = value.get("type")
        if not isinstance(kind, str):
            raise malformed(message)
        try:
            if kind == "error":
                self._error(value["error"])
            elif kind == "session.updated":
                return (Ready(),)
            elif kind == "input_audio_buffer.speech_stopped":
                self._announced.add(value["item_id"])
            elif kind == "input_audio_buffer.committed":
                self._committed(value["item_id"])
            elif kind.startswith(_ITEM):
                return (*self._item(kind.removeprefix(_ITEM), value), *self._end())
        except (LookupError, TypeError, AttributeError) as error:
            raise malformed(message) from error
        return self._end()

    def _item(self, kind: str, value: dict[str, Any]) -> tuple[Signal, ...]:
        item: str = value["item_id"]
        if kind == "delta":
            text = self._deltas[item] = self._deltas.get(item, "") + value["delta"]
            return (Heard(text, is_final=False),)
        if kind == "completed":
            self._deltas.pop(item, None)
            self._waiting.discard(item)
            self._completed.add(item)
            return (Heard(value["transcript"], is_final=True),)
        if kind == "failed":
            raise ServerError("the server failed the stream", value["error"].get("message"))
        return ()

    def _committed(self, item: str) -> None:
        self._waiting |= {item} - self._completed
        if self._ending and item not in self._announced:
            self._answered = True

    def _error(self, error: dict[str, Any]) -> None:
        code = error.get("code")
        if self._ending and (code == NOTHING_LEFT or error.get("event_id") == END):
            self._answered = True
            if code == NOTHING_LEFT:
                return
        found = f"{code or error.get('type')}: {error.get('message')}"
        if code in BUSY_CODES or "retry_after" in error:
            raise RefusedError("the server has no room", found, retry_after_s(None, json.dumps(error)))
        raise ServerError("the server failed the stream", found)

    def _end(self) -> tuple[Signal, ...]:
        return (Ended(),) if self._answered and not self._waiting else ()
