"""How busy the engine is and would be: what admission decides by.

A step of `n` streams is modelled as `fixed_s + n x each_s`, fitted to calibration and then followed by exponentially
weighted least squares; duty is the share of time that the steps of all streams take. How busy the engine really was is
measured too, and where that is more than the model says, the model is scaled up to it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

WEIGHT_HALF_LIFE = 200
BUSY_WINDOW_S = 10.0
KNOWN_AFTER_S = 5.0
"""Seconds of open streams, summed over them, after which the measured load of one is believed."""
LONGEST_GAP_S = 1.0
STRETCH_S = 0.1
"""Steps are kept in stretches of this length: thousands of them would take longer to add up than a stream to open."""
LEAST_S = 1e-3


@dataclass(frozen=True, slots=True)
class StepCost:
    """Seconds that a step takes: `fixed_s`, and `each_s` for every stream in it."""

    fixed_s: float
    each_s: float


class StepModel:
    """Weighted least squares of step time over streams in the step; recent steps weigh most."""

    def __init__(self) -> None:
        self._decay = 0.5 ** (1 / WEIGHT_HALF_LIFE)
        self._sums = [0.0] * 5

    def add(self, streams: float, duration_s: float) -> None:
        """Take one step of `streams` streams, those of other chunk sizes counted by their weight."""
        values = (1.0, streams, streams * streams, duration_s, streams * duration_s)
        self._sums = [self._decay * total + value for total, value in zip(self._sums, values, strict=True)]

    @property
    def cost(self) -> StepCost:
        """The fitted cost; with steps of one size alone, everything is put on the streams."""
        count, n, nn, t, nt = self._sums
        if not n:
            return StepCost(0.0, 0.0)
        spread = count * nn - n * n
        if spread <= 1e-9 * nn * count:
            return StepCost(0.0, t / n)
        each_s = (count * nt - n * t) / spread
        fixed_s = (t - each_s * n) / count
        if each_s <= 0 or fixed_s < 0:
            return StepCost(0.0, t / n)
        return StepCost(fixed_s, each_s)


@dataclass(slots=True)
class _Work:
    """Steps that began within STRETCH_S of each other: how long they took together, and how many streams were live."""

    start_s: float
    end_s: float
    busy_s: float
    live: int


class BusyShare:
    """How busy the engine was in the last ten seconds; may be asked on another thread than that which adds."""

    def __init__(self) -> None:
        self._work: deque[_Work] = deque()

    def add(self, start_s: float, end_s: float, live: int) -> None:
        """Take one step, made while `live` streams were open."""
        if self._work and start_s - self._work[-1].start_s < STRETCH_S:
            last = self._work[-1]
            last.end_s, last.busy_s, last.live = end_s, last.busy_s + end_s - start_s, live
        else:
            self._work.append(_Work(start_s, end_s, end_s - start_s, live))
        while self._work[0].end_s <= end_s - BUSY_WINDOW_S:
            self._work.popleft()

    def share(self, now_s: float) -> float:
        """Return busy time over time, of the window or of the time since the first work in it where that is shorter."""
        recent = self._recent(now_s)
        if not recent:
            return 0.0
        first = recent[0]
        since_s = max(now_s - BUSY_WINDOW_S, first.start_s)
        before_s = first.busy_s * (since_s - first.start_s) / max(first.end_s - first.start_s, LEAST_S)
        return (sum(work.busy_s for work in recent) - before_s) / max(now_s - since_s, LEAST_S)

    def part(self, now_s: float) -> float:
        """Return busy time of the last ten seconds over ten seconds, however short it is known."""
        return sum(work.busy_s for work in self._recent(now_s)) / BUSY_WINDOW_S

    def typical(self, now_s: float) -> tuple[float, float] | None:
        """Return busy time over time, and how many streams were open at a time; None while too little is known."""
        recent = self._recent(now_s)
        gaps_s = [min(work.start_s - before.start_s, LONGEST_GAP_S) for before, work in pairwise(recent)]
        open_s = sum(work.live * gap_s for work, gap_s in zip(recent[1:], gaps_s, strict=True))
        if open_s < KNOWN_AFTER_S:
            return None
        return sum(work.busy_s for work in recent[1:]) / sum(gaps_s), open_s / sum(gaps_s)

    def _recent(self, now_s: float) -> list[_Work]:
        return [work for work in tuple(self._work) if work.end_s > now_s - BUSY_WINDOW_S]
