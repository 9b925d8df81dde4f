"""The server's side of three dialects, as a planted server speaks them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]
    Stamps = dict[str, float]


class Dialect(Protocol):
    """The server's side of a protocol; `samples` returns None for the message that ends the audio."""

    def hello(self) -> list[str]: ...
    def samples(self, message: str | bytes) -> Samples | None: ...
    def result(self, text: str, audio_s: float, stamps: Stamps, *, is_final: bool) -> list[str]: ...
    def goodbye(self) -> list[str]: ...


class Deepgram:
    rate = 16_000

    def hello(self) -> list[str]:
        return []

    def samples(self, message: str | bytes) -> Samples | None:
        if isinstance(message, str):
            return None if json.loads(message)["type"] == "CloseStream" else np.zeros(0, np.float32)
        return np.frombuffer(message, "<i2").astype(np.float32) / np.float32(32768)

    def result(self, text: str, audio_s: float, stamps: Stamps, *, is_final: bool) -> list[str]:
        channel = {"alternatives": [{"transcript": text, "confidence": 1.0, "words": []}]}
        start_s = min(0.1, audio_s)
        result = {"type": "Results", "start": start_s, "duration": audio_s - start_s, "is_final": is_final}
        return [json.dumps({**result, "channel": channel, "metadata": {"stamps": stamps}})]

    def goodbye(self) -> list[str]:
        return [json.dumps({"type": "Metadata"})]


class Sherpa:
    rate = 16_000

    def __init__(self) -> None:
        self._segment = 0

    def hello(self) -> list[str]:
        return []

    def samples(self, message: str | bytes) -> Samples | None:
        return None if isinstance(message, str) else np.frombuffer(message, "<f4")

    def result(self, text: str, audio_s: float, stamps: Stamps, *, is_final: bool) -> list[str]:
        del audio_s, stamps
        message = json.dumps({"text": text, "segment": self._segment, "is_final": is_final})
        self._segment += is_final
        return [message]

    def goodbye(self) -> list[str]:
        return ["Done!"]


class OpenAI:
    """Deltas only add, so a partial is said only when it begins with what was said before."""

    rate = 24_000

    def __init__(self) -> None:
        self._item = 0
        self._text = ""

    def hello(self) -> list[str]:
        return [self._event("session.created", session={})]

    def samples(self, message: str | bytes) -> Samples | None:
        event = json.loads(message)
        if event["type"] == "input_audio_buffer.append":
            return np.frombuffer(base64.b64decode(event["audio"], validate=True), "<i2").astype(
                np.float32
            ) / np.float32(32768)
        return None if event["type"] == "input_audio_buffer.commit" else np.zeros(0, np.float32)

    def updated(self, message: str | bytes) -> list[str]:
        event = json.loads(message)
        return [self._event("session.updated", session={})] if event["type"] == "session.update" else []

    def result(self, text: str, audio_s: float, stamps: Stamps, *, is_final: bool) -> list[str]:
        del audio_s, stamps
        item = {"item_id": f"item{self._item}", "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        if not is_final:
            if not text.startswith(self._text) or text == self._text:
                return []
            delta, self._text = text[len(self._text) :], text
            return [self._event(f"{kind}.delta", **item, delta=delta)]
        self._item, self._text = self._item + 1, ""
        committed = self._event("input_audio_buffer.committed", item_id=item["item_id"], previous_item_id=None)
        return [committed, self._event(f"{kind}.completed", **item, transcript=text)]

    def goodbye(self) -> list[str]:
        return []

    def _event(self, kind: str, **details: Any) -> str:
        return json.dumps({"type": kind, "event_id": "e", **details})


DIALECTS: dict[str, type[Deepgram | Sherpa | OpenAI]] = {
    "/v1/listen": Deepgram,
    "/": Sherpa,
    "/v1/realtime": OpenAI,
}
