"""What was said and when: the results of recognition, independent of any engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Word:
    """One written word; `start` and `end` in seconds from the start of the audio, `confidence` in [0, 1]."""

    text: str
    start: float
    end: float
    confidence: float | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech shown together, such as a sentence or a subtitle; times in seconds."""

    text: str
    start: float
    end: float
    words: tuple[Word, ...] = ()
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of one recording of `duration_s` seconds; `segments` is empty when an engine gives no times."""

    text: str
    duration_s: float
    segments: tuple[Segment, ...] = ()
    language: str | None = None

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments, in order."""
        return tuple(word for segment in self.segments for word in segment.words)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a live stream has heard of the current utterance.

    `audio_s` is the audio consumed since the stream was opened, in seconds, and word times count from there too; the
    first `stable_words` words of `text` will not change; a final hypothesis is immutable and ends the utterance.
    """

    stream: int
    text: str
    audio_s: float
    is_final: bool = False
    stable_words: int = 0
    words: tuple[Word, ...] = ()


def fit_words(words: Sequence[Word], duration_s: float) -> tuple[Word, ...]:
    """Return the words with times made monotonic and kept inside the audio: 0 <= start <= end <= next start."""
    fitted: list[Word] = []
    earliest = 0.0
    for word in words:
        start = min(max(word.start, earliest), duration_s)
        end = min(max(word.end, start), duration_s)
        fitted.append(replace(word, start=start, end=end))
        earliest = end
    return tuple(fitted)
