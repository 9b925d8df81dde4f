"""Whose turn it is to compute, where files and live streams share a card or all processor cores: streams go first.

A recogniser whose files and live streams hinder each other has a `Turns`. Live steps are made within `step()`. Files
are computed within `files()`, and what runs there says `give_way()` wherever a piece of work ends: a step that waits
then goes first. Files are not starved: of the time in which both want to compute they get FILES_SHARE. So a step waits
for one piece, or for several short ones that PIECE_S holds. While no stream is live, giving way does nothing.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES_SHARE = 0.1
"""Of the time in which steps and files both want to compute, what files get at least."""
PIECE_S = 0.025
"""How long a piece of a file's work should take at most; fewer recordings together make it shorter."""

_HERE = threading.local()


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a step waited for work of files, and how many pieces of it ended meanwhile."""

    waited_s: float = 0.0
    pieces: int = 0


class Turns:
    """The turns of one recogniser: of one thread that steps, and any number that compute files, one computes.

    `live` is how many streams are open; while there are any, `observe` is told the seconds of each piece. `pieces`
    counts them, and `step_waits` says whether a step wants to begin.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.live = 0
        self.observe: Callable[[float], None] = lambda _: None
        self.pieces = 0
        self.step_waits = False
        self._clock = clock
        self._changed = threading.Condition()
        self._taken = False
        self._files_waiting = 0
        self._owed_s = 0.0
        self._files_next = False
        self._asked_s = 0.0
        self._last_piece_s = 0.0
        self._piece_per_audio = math.inf

    @property
    def fitting_s(self) -> float:
        """How many seconds of audio together keep a piece within PIECE_S, by the last that were computed."""
        if not self.live:
            return math.inf
        return PIECE_S / self._piece_per_audio if self._piece_per_audio else math.inf

    @contextmanager
    def step(self) -> Iterator[Wait]:
        """Compute live streams in the body, and tell how long they waited."""
        self._asked_s = asked_s = self._clock()
        before = self.pieces
        self.step_waits = True  # before the lock is had, which the end of a piece and the next's beginning may hold
        with self._changed:
            self._changed.wait_for(lambda: not self._taken and not (self._files_waiting and self._files_next))
            self.step_waits, self._taken = False, True
        start_s = self._clock()
        try:
            yield Wait(start_s - asked_s, self.pieces - before)
        finally:
            with self._changed:
                self._taken = False
                if self._files_waiting:
                    owed_s = self._owed_s + (self._clock() - start_s) * FILES_SHARE / (1 - FILES_SHARE)
                    self._owed_s = min(owed_s, max(PIECE_S, self._last_piece_s))
                self._files_next = self._owes_a_piece
                self._changed.notify_all()

    @contextmanager
    def files(self, audio_s: float, settle: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Compute so many seconds of recordings in the body; `settle` waits until the device has done all it was told.

        `give_way`, called in the body by the same thread, ends a piece.
        """
        work = _Work(self, settle)
        with self._changed:
            self._begin(work)
        _HERE.work = work
        try:
            yield
        finally:
            del _HERE.work
            with self._changed:
                self._end(work)
            if work.pieces > 1:
                self._piece_per_audio = work.longest_s / audio_s

    def give_way(self, work: _Work) -> None:
        """End a piece and begin the next, if there is anybody to give way to."""
        if self.live:
            work.settle()
            with self._changed:
                self._end(work)
                self._begin(work)

    @property
    def _owes_a_piece(self) -> bool:
        return 0 < self._owed_s >= self._last_piece_s

    def _begin(self, work: _Work) -> None:
        self._files_waiting += 1
        self._changed.wait_for(lambda: not self._taken and (not self.step_waits or self._files_next))
        self._files_waiting -= 1
        self._taken = True
        work.began_s = self._clock()

    def _end(self, work: _Work) -> None:
        now_s = self._clock()
        took_s = now_s - work.began_s
        work.longest_s = max(work.longest_s, took_s)
        work.pieces += 1
        self._taken = False
        self._last_piece_s = took_s
        self._owed_s = max(0.0, self._owed_s - took_s)
        self.pieces += 1
        # A step that waits lets another piece go first if PIECE_S holds that one too.
        self._files_next = self._owes_a_piece and now_s - self._asked_s + took_s <= PIECE_S
        self._changed.notify_all()
        if self.live:
            self.observe(took_s)


@dataclass(slots=True)
class _Work:
    """What one thread computes of files: when its piece began, the longest so far, and how many there were."""

    turns: Turns
    settle: Callable[[], None]
    began_s: float = 0.0
    longest_s: float = 0.0
    pieces: int = 0


def give_way() -> None:
    """Let live steps go first, where the calling thread computes files that share the processors with them."""
    work: _Work | None = getattr(_HERE, "work", None)
    if work is not None:
        work.turns.give_way(work)
