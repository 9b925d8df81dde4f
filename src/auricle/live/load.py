"""How busy the engine is and would be: what admission decides by.

A step of `n` streams is modelled as `fixed_s + n x each_s`, fitted to calibration and then followed by exponentially
weighted least squares; duty is the share of time that the steps of all streams take. The share that was really busy is
measured too, and the larger of the two is believed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WEIGHT_HALF_LIFE = 200
BUSY_WINDOW_S = 10.0


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

    def add(self, streams: int, duration_s: float) -> None:
        """Take one step of `streams` streams."""
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


class BusyShare:
    """The share of the last ten seconds in which the engine worked; `share` may be asked on another thread."""

    def __init__(self) -> None:
        self._spans: deque[tuple[float, float]] = deque()
        self._start_s: float | None = None

    def add(self, start_s: float, end_s: float) -> None:
        """Take one stretch of work."""
        if self._start_s is None:
            self._start_s = start_s
        self._spans.append((start_s, end_s))
        while self._spans[0][1] <= end_s - BUSY_WINDOW_S:
            self._spans.popleft()

    def share(self, now_s: float) -> float:
        """Return busy time over time, of the window or of the time since the first work where that is shorter."""
        if self._start_s is None:
            return 0.0
        since_s = max(now_s - BUSY_WINDOW_S, self._start_s)
        busy_s = sum(max(end - max(start, since_s), 0.0) for start, end in tuple(self._spans))
        return busy_s / max(now_s - since_s, 1e-3)
