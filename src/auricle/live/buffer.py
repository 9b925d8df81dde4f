"""The audio of a live stream on its way to the engine: samples, and marks where an utterance is to end.

One thread appends, another takes; both hold the lock for the time of a list operation. Whoever makes the buffer ready
is told so, exactly once, so that each ready stream stands in the engine's queue exactly once.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NOTHING: NDArray[np.float32] = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class Mark:
    """Ends an utterance exactly here; `name` comes back with the final, `ends_stream` says nothing will follow."""

    name: str | None = None
    ends_stream: bool = False


class Taken(NamedTuple):
    """What the engine is given next: at most a chunk of samples, up to and with a mark if one was reached.

    `since_s` is when the last of these samples, or the mark, came in; `more` tells that the buffer is still ready.
    """

    samples: NDArray[np.float32]
    mark: Mark | None
    since_s: float
    more: bool


@dataclass(slots=True)
class _Stretch:
    """Samples up to a mark, or up to now; each part with the time at which it came in."""

    parts: deque[tuple[NDArray[np.float32], float]] = field(default_factory=deque)
    samples: int = 0
    mark: Mark | None = None
    marked_s: float = 0.0


class AudioBuffer:
    """A queue of samples and marks, taken in chunks of `chunk` samples, the first of an utterance `first_short` less.

    `received` counts all samples that were appended, `samples` those that wait.
    """

    def __init__(self, chunk: int, first_short: int = 0) -> None:
        self.chunk = chunk
        self.first_short = first_short
        self._wanted = chunk - first_short
        self.received = 0
        self.samples = 0
        self._stretches: deque[_Stretch] = deque([_Stretch()])
        self._lock = threading.Lock()

    def append(self, samples: NDArray[np.float32], now_s: float) -> bool:
        """Add samples that came in at `now_s`, and tell whether that made the buffer ready."""
        count = len(samples)
        with self._lock:
            last = self._stretches[-1]
            before, last.samples = last.samples, last.samples + count
            last.parts.append((samples, now_s))
            self.received += count
            self.samples += count
            return len(self._stretches) == 1 and before < self._wanted <= last.samples

    def mark(self, mark: Mark, now_s: float) -> bool:
        """Add a mark after all that was appended, and tell whether that made the buffer ready."""
        with self._lock:
            before = self._ready()
            self._stretches[-1].mark = mark
            self._stretches[-1].marked_s = now_s
            self._stretches.append(_Stretch())
            return not before

    def take(self) -> Taken | None:
        """Remove a whole chunk, or what is left before a mark together with the mark; None when neither is there."""
        with self._lock:
            if not self._ready():
                return None
            stretch = self._stretches[0]
            wanted = min(self._wanted, stretch.samples)
            self._wanted = self.chunk
            self.samples -= wanted
            samples, since_s = _pop(stretch, wanted)
            mark = None
            if stretch.mark is not None and not stretch.samples:
                mark, since_s = stretch.mark, stretch.marked_s
                self._stretches.popleft()
                self._wanted = self.chunk - self.first_short
            return Taken(samples, mark, since_s, self._ready())

    def put_back(self, taken: Taken, fed: int) -> bool:
        """Undo a take but for its first `fed` samples, which end an utterance; tell whether the buffer became ready."""
        with self._lock:
            before = self._ready()
            self._wanted = self.chunk - self.first_short
            if taken.mark is not None:
                self._stretches.appendleft(_Stretch(mark=taken.mark, marked_s=taken.since_s))
            rest = taken.samples[fed:]
            if len(rest):
                self._stretches[0].parts.appendleft((rest, taken.since_s))
                self._stretches[0].samples += len(rest)
                self.samples += len(rest)
            return not before and self._ready()

    def restart(self) -> bool:
        """Take what comes next as the first of an utterance, and tell whether that made the buffer ready."""
        with self._lock:
            before = self._ready()
            self._wanted = self.chunk - self.first_short
            return not before and self._ready()

    def _ready(self) -> bool:
        return len(self._stretches) > 1 or self._stretches[0].samples >= self._wanted


def _pop(stretch: _Stretch, wanted: int) -> tuple[NDArray[np.float32], float]:
    """Remove `wanted` samples; return them, and when the last of them came in."""
    stretch.samples -= wanted
    parts: list[NDArray[np.float32]] = []
    since_s = 0.0
    while wanted:
        samples, since_s = stretch.parts.popleft()
        if len(samples) > wanted:
            stretch.parts.appendleft((samples[wanted:], since_s))
            samples = samples[:wanted]
        parts.append(samples)
        wanted -= len(samples)
    return _joined(parts), since_s


def _joined(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return contiguous parts as one array; unlike NumPy's own, without letting other threads in at every part."""
    if len(parts) <= 1:
        return parts[0] if parts else NOTHING
    return np.frombuffer(bytearray().join([part.data for part in parts]), np.float32)
