"""What happened to one stream, by one monotonic clock, compact enough to keep for thousands of streams.

The events are those from which every live metric is computed: connect, ready, audio_due, audio_sent, partial, final,
end_of_audio, closed, and refused or error.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Outcome = Literal["open", "complete", "refused", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Heard:
    """The text of one utterance so far or for good; it covers the audio up to `audio_s`, None where nothing says so.

    `stamps` are the server's own times of what it did for this message, None where it does not tell them.
    """

    text: str
    is_final: bool
    audio_s: float | None = None
    stamps: Mapping[str, float] | None = None


@dataclass(slots=True)
class StreamRecord:
    """All events of one stream; times in seconds by the run's clock, None for what did not happen.

    `due_s` and `sent_s` hold one value a chunk that was sent; `held` numbers the chunks that waited because the server
    did not read. `heard_s`, `covered_s` (not a number where unknown), `is_final` and `texts` hold one value a message.
    `end_of_audio_s` is when the server was told that no more audio follows. `start_s` is when the first sample is
    captured. A stream that is not `counted` only keeps up the load. `stamped` holds stamps by the number of a message.
    """

    stream: int
    clip: str
    dialect: str
    rate: int
    chunk: int
    samples: int
    speed: float | None
    counted: bool = True
    connect_s: float | None = None
    start_s: float | None = None
    ready_s: float | None = None
    end_of_audio_s: float | None = None
    closed_s: float | None = None
    close_code: int | None = None
    outcome: Outcome = "open"
    error: str | None = None
    retry_after_s: float | None = None
    due_s: array[float] = field(default_factory=lambda: array("d"))
    sent_s: array[float] = field(default_factory=lambda: array("d"))
    held: array[int] = field(default_factory=lambda: array("L"))
    heard_s: array[float] = field(default_factory=lambda: array("d"))
    covered_s: array[float] = field(default_factory=lambda: array("d"))
    is_final: bytearray = field(default_factory=bytearray)
    texts: list[str] = field(default_factory=list)
    stamped: dict[int, Mapping[str, float]] = field(default_factory=dict)

    def hear(self, heard: Heard, now_s: float) -> None:
        """Add a message; a text that repeats the last one is kept once."""
        text = self.texts[-1] if self.texts and self.texts[-1] == heard.text else heard.text
        self.heard_s.append(now_s)
        self.covered_s.append(math.nan if heard.audio_s is None else heard.audio_s)
        self.is_final.append(heard.is_final)
        if heard.stamps is not None:
            self.stamped[len(self.texts)] = heard.stamps
        self.texts.append(text)

    @property
    def finals(self) -> list[str]:
        """The texts of the utterances, in the order in which they became final; silent ones are left out."""
        return [text for text, is_final in zip(self.texts, self.is_final, strict=True) if is_final and text]

    @property
    def text(self) -> str:
        """All that was heard for good."""
        return " ".join(self.finals)

    def events(self) -> list[dict[str, Any]]:
        """Return every event as a dict with `event`, `stream` and `at_s`, in the order of time."""
        return sorted(self._events(), key=lambda event: event["at_s"])

    def _events(self) -> Iterator[dict[str, Any]]:
        yield from self._moment("connect", self.connect_s, clip=self.clip, dialect=self.dialect, speed=self.speed)
        yield from self._moment("ready", self.ready_s, rate=self.rate, chunk=self.chunk, samples=self.samples)
        for index, (due_s, sent_s) in enumerate(zip(self.due_s, self.sent_s, strict=True)):
            yield from self._moment("audio_due", due_s, chunk=index)
            yield from self._moment("audio_sent", sent_s, chunk=index)
        for at_s, covered_s, is_final, text in zip(
            self.heard_s, self.covered_s, self.is_final, self.texts, strict=True
        ):
            audio_s = None if math.isnan(covered_s) else covered_s
            yield from self._moment("final" if is_final else "partial", at_s, text=text, audio_s=audio_s)
        yield from self._moment("end_of_audio", self.end_of_audio_s)
        if self.error is not None:
            what = "refused" if self.outcome == "refused" else "error"
            yield from self._moment(what, self.closed_s, error=self.error, retry_after_s=self.retry_after_s)
        yield from self._moment("closed", self.closed_s, outcome=self.outcome, code=self.close_code)

    def _moment(self, event: str, at_s: float | None, **details: Any) -> Iterator[dict[str, Any]]:
        if at_s is not None:
            yield {"event": event, "stream": self.stream, "at_s": at_s, **details}
