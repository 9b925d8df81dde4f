"""Who is let in: as many streams as the engine can serve in time, by measured duty, and no more."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from auricle.errors import AuricleError
from auricle.live.load import BusyShare, StepModel

if TYPE_CHECKING:
    from collections.abc import Sequence

RETRY_AFTER_S = 5
PLACES_TAKEN = "all places for live streams are taken"
LEAST_TICK_S = 0.004
FIXED_SHARE = 0.05
LEAST_WORTH = 4
LONGEST_STEP_S = 0.025
"""What a step may take: so long streams that become ready wait for it, and whoever else is to have a turn."""
BUSY = 0.8
"""Duty above which steps are not cut, where admission has no bound of its own."""


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """Bounds; `max_duty` None admits by the number of streams alone, `max_streams` None by duty alone."""

    max_duty: float | None = 0.8
    max_streams: int | None = None

    def of_replica(self, number: int, replicas: int) -> AdmissionRules:
        """Return the rules of one of several engines, whose numbers of streams add up to what these allow."""
        if self.max_streams is None:
            return self
        whole, left = divmod(self.max_streams, replicas)
        return replace(self, max_streams=whole + (number < left))


@dataclass(frozen=True, slots=True)
class Load:
    """What admission saw: live streams, duty that was measured, and duty with one stream more."""

    streams: int
    duty: float
    duty_with_one_more: float


class RefusedError(AuricleError, RuntimeError):
    """A stream was not let in; says the limit, what was observed, and when to try again."""

    def __init__(self, what: str, limit: float, load: Load, retry_after_s: int = RETRY_AFTER_S) -> None:
        observed = f"{load.streams} live streams, duty {load.duty:.2f}, {load.duty_with_one_more:.2f} with one more"
        super().__init__(what, f"limit {limit:g}, observed {observed}", f"try again in {retry_after_s} s")
        self.limit = limit
        self.load = load
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type[RefusedError], tuple[str, float, Load, int]]:
        """Pickle whole: processes pass it on."""
        return RefusedError, (self.what, self.limit, self.load, self.retry_after_s)


class Admission:
    """Decides by the cost of steps, and by how busy the engine was where that is more than they explain.

    The time in which steps waited for files counts as theirs, and is added to what the streams need.

    `weights` are, by chunk period in seconds, how many default chunks a chunk costs as much as; 1 where none is known.
    `together` is how many default chunks a step takes at most while there is time for short steps, so that it lasts
    LONGEST_STEP_S; each step more costs its fixed part again, so where streams need that time steps are not cut.
    """

    def __init__(self, rules: AdmissionRules, tick_s: float, slots: int) -> None:
        self.rules = rules
        self.model = StepModel()
        self.busy = BusyShare()
        self.files = BusyShare()
        self.weights: dict[float, float] = {}
        self.together = math.inf
        self._longest_tick_s = tick_s
        self._slots = slots

    @property
    def tick_s(self) -> float:
        """Seconds between two ticks: what a step costs however few streams are in it takes a 20th of them at most."""
        return min(max(self.model.cost.fixed_s / FIXED_SHARE, LEAST_TICK_S), self._longest_tick_s)

    def keep_steps_short(self) -> None:
        """Set `together` from what steps cost, which must have been measured with few streams and with many.

        It is not followed later: by steps that are all small nobody can tell what large ones would cost. It is never so
        small that what a step costs in any case is more than a quarter of what its streams cost, since each step more
        costs that again.
        """
        cost = self.model.cost
        if cost.each_s:
            self.together = max(LONGEST_STEP_S - cost.fixed_s, cost.fixed_s * LEAST_WORTH) / cost.each_s

    def most_together(self, chunks_per_s: float) -> float:
        """Return how many default chunks a step takes at most while so many come in a second."""
        cut = self._duty(chunks_per_s, max(min(chunks_per_s, 1 / self.tick_s), chunks_per_s / self.together))
        return self.together if cut <= (self.rules.max_duty or BUSY) else math.inf

    def weight(self, period_s: float) -> float:
        """Return how many default chunks one of this period costs as much as."""
        return self.weights.get(period_s, 1.0)

    def blocked(self, start_s: float, end_s: float, live: int) -> None:
        """Take the time in which a step waited for a piece of a file's work."""
        self.files.add(start_s, end_s, live)

    def observe(self, periods_s: Sequence[float], start_s: float, end_s: float, live: int) -> None:
        """Take one step of streams with these chunk periods, made while `live` streams were open."""
        self.model.add(sum([self.weight(period_s) for period_s in periods_s]), end_s - start_s)
        self.busy.add(start_s, end_s, live)

    def load(self, periods_s: list[float], period_s: float, now_s: float) -> Load:
        """Return the load of live streams with these chunk periods, and with one more of `period_s`."""
        chunks_per_s = sum([self.weight(each_s) / each_s for each_s in [*periods_s, period_s]])
        with_one_more = self._modelled(chunks_per_s)
        if (typical := self.busy.typical(now_s)) is not None:
            share, streams = typical
            part = streams / (len(periods_s) + 1)
            explained = self._modelled(chunks_per_s * part)
            with_one_more = max(with_one_more, share * with_one_more / explained if explained else share / part)
        files = self.files.part(now_s)
        return Load(len(periods_s), self.busy.share(now_s) + files, with_one_more + files)

    def check(self, periods_s: list[float], period_s: float, now_s: float) -> None:
        """Raise RefusedError when one more stream would be too many."""
        load = self.load(periods_s, period_s, now_s)
        limit = self._slots if self.rules.max_streams is None else min(self._slots, self.rules.max_streams)
        if load.streams >= limit:
            raise RefusedError(PLACES_TAKEN, limit, load)
        if self.rules.max_duty is not None and periods_s and load.duty_with_one_more > self.rules.max_duty:
            raise RefusedError("the engine is as busy as it may be", self.rules.max_duty, load)

    def capacity(self, period_s: float, now_s: float) -> int | None:
        """Return how many streams of one chunk period the model says can be served; None while it knows nothing."""
        cost = self.model.cost
        if self.rules.max_duty is None or not cost.each_s:
            return None
        paid_s = period_s / self.weight(period_s)
        max_duty = max(0.0, self.rules.max_duty - self.files.part(now_s))
        low, high = 0, min(self._slots, int(max_duty * paid_s / cost.each_s) + 1)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self._modelled(middle / paid_s) <= max_duty
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    def _modelled(self, chunks_per_s: float) -> float:
        """Return steps per second times the fixed cost, plus (default) chunks per second times the cost of each."""
        return self._duty(chunks_per_s, min(chunks_per_s, 1 / self.tick_s))

    def _duty(self, chunks_per_s: float, steps_per_s: float) -> float:
        cost = self.model.cost
        return steps_per_s * cost.fixed_s + chunks_per_s * cost.each_s
