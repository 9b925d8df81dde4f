"""What a live stream tells, in the order in which it happened; times are seconds since the stream was opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auricle.errors import AuricleError
    from auricle.live.buffer import Mark
    from auricle.transcript import Word


Stamps = tuple[float, float, float, float]
"""By the engine's monotonic clock: when the last audio of it came, its turn began, its step began, and ended."""


@dataclass(frozen=True, slots=True)
class Partial:
    """The text of the utterance so far; the first `stable_words` words of it are shown for good."""

    text: str
    words: tuple[Word, ...]
    stable_words: int
    new_stable: tuple[str, ...]
    audio_s: float
    stamps: Stamps | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Voice began at `time_s`; only streams with rules of voice tell it."""

    time_s: float


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """Voice ended at `time_s`; the final of its utterance follows, where such silence ends one."""

    time_s: float


@dataclass(frozen=True, slots=True)
class Final:
    """An utterance that has ended, by an endpoint (`mark` None) or at a mark; its text is immutable.

    `start_s` and `audio_s` are where it starts and ends.
    """

    text: str
    words: tuple[Word, ...]
    start_s: float
    audio_s: float
    mark: Mark | None
    stamps: Stamps | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The stream cannot go on."""

    error: AuricleError


Speech = SpeechStarted | SpeechStopped
Heard = Partial | Speech | Final
Event = Heard | Failed
