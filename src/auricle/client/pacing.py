"""The absolute schedule of a recording that is played as if it were being spoken.

Chunk `i` is due when its last sample is captured. A chunk that is late is sent at once and moves no other, so a client
or server that stalls shows as latency and never as a slower speaker.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    Clock = Callable[[], float]

CLOCK: Clock = time.perf_counter
TIMER_S = 0.001
BURST = 16


@dataclass(frozen=True, slots=True)
class Schedule:
    """`samples` at `rate` Hz in chunks of `chunk` samples, `speed` times as fast as spoken; None knows no time."""

    samples: int
    rate: int
    chunk: int
    speed: float | None = 1.0

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise UsageError("a chunk must hold at least one sample", self.chunk)
        if self.speed is not None and not (math.isfinite(self.speed) and self.speed > 0):
            raise UsageError("speed must be above zero", self.speed, "leave it out to send as fast as possible")

    def __len__(self) -> int:
        return math.ceil(self.samples / self.chunk)

    def span(self, index: int) -> tuple[int, int]:
        """Return the first sample of a chunk and the one after its last."""
        return index * self.chunk, min((index + 1) * self.chunk, self.samples)

    def due_s(self, index: int) -> float | None:
        """Return when a chunk is due, in seconds from the first sample; None in an unpaced schedule."""
        return None if self.speed is None else self.span(index)[1] / self.rate / self.speed


async def sleep_until(at_s: float, clock: Clock) -> None:
    """Wait until that time, or not at all when it has passed."""
    if (left_s := at_s - clock()) > 0:
        await asyncio.sleep(_delay_s(left_s))


class Pacer:
    """Calls `send(index, due_s)` for every chunk in order, none before it is due, without a task of its own.

    `due_s` is by `clock`; in an unpaced schedule it is the time of sending. `hold` and `release` are for a socket that
    is full: chunks that fall due meanwhile go out afterwards. `finished` is done when all were sent or sending raised.
    """

    def __init__(self, schedule: Schedule, start_s: float, send: Callable[[int, float], None], clock: Clock) -> None:
        self._loop = asyncio.get_running_loop()
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self._schedule = schedule
        self._start_s = start_s
        self._send = send
        self._clock = clock
        self._next = 0
        self._held = False
        self._waiting: asyncio.Handle | None = None
        self._advance()

    def hold(self) -> None:
        """Send nothing until `release`."""
        self._held = True

    def release(self) -> None:
        """Go on, at once with what is late."""
        self._held = False
        if self._waiting is None and not self.finished.done():
            self._advance()

    def cancel(self) -> None:
        """Send nothing more."""
        if self._waiting is not None:
            self._waiting.cancel()
        if not self.finished.cancel() and not self.finished.cancelled():
            self.finished.exception()  # whoever cancels need not look at it

    def _advance(self) -> None:
        self._waiting = None
        try:
            for _ in range(BURST):
                if self._held or self._is_over():
                    return
                now_s = self._clock()
                offset_s = self._schedule.due_s(self._next)
                due_s = now_s if offset_s is None else self._start_s + offset_s
                if now_s < due_s:
                    self._waiting = self._loop.call_later(_delay_s(due_s - now_s), self._advance)
                    return
                self._next += 1
                self._send(self._next - 1, due_s)
        except Exception as error:  # noqa: BLE001  whoever waits for `finished` gets it
            self.finished.set_exception(error)
            return
        self._waiting = self._loop.call_soon(self._advance)

    def _is_over(self) -> bool:
        over = self._next == len(self._schedule)
        if over and not self.finished.done():
            self.finished.set_result(None)
        return over


def _delay_s(left_s: float) -> float:
    """Round up to what event loops count in; uvloop rounds to the nearest and would be early."""
    return math.ceil(left_s / TIMER_S) * TIMER_S
