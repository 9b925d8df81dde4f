"""Which side is better, metric by metric: better, worse, no difference found, or not enough seen to tell.

Sides are compared with the first. Every metric is such that less is better. A time is better or worse when Mann &
Whitney's test and the bootstrap interval of the ratio of medians both say so; no difference is found when enough values
were there to see one of `smallest`, and it was not seen. Error rates are paired over the utterances that both
attempted, in blocks of a speaker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from auricle.errors import UsageError
from auricle.report.sides import measure
from auricle.score.bootstrap import MIN_SOUND, MIN_UNITS, RESAMPLES, Interval, block_interval
from auricle.score.ranks import POWER, SIGNIFICANT, Ratio, compare_times, outliers, values_needed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auricle.report.sides import Heard, Side

Verdict = Literal["better", "worse", "no difference found", "not enough"]
PERCENT = 100.0
MOST_ASKED = 100_000


@dataclass(frozen=True, slots=True)
class Smallest:
    """The smallest difference that matters: of times as a share, of error rates in points."""

    share: float = 0.05
    points: float = 1.0


@dataclass(frozen=True, slots=True)
class Timing:
    """A time of side B against that of A; `more` is how many values a side it takes beyond those there are.

    `unit` is what a value is of: passes, streams or runs. `outliers` are far from the others of their side, and kept.
    """

    key: str
    unit: str
    ratio: Ratio
    verdict: Verdict
    more: int | None
    outliers: int


@dataclass(frozen=True, slots=True)
class Errors:
    """An error rate of side B minus that of A; 0.01 is one point. `more` utterances would do."""

    key: str
    rate_a: float
    rate_b: float
    difference: float
    interval: Interval
    utterances: int
    verdict: Verdict
    more: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Side B against side A; `alone` are the metrics that only one of them has."""

    a: str
    b: str
    smallest: Smallest
    timings: tuple[Timing, ...]
    errors: tuple[Errors, ...]
    alone: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def metrics(self) -> list[Timing | Errors]:
        """All that was judged, error rates first."""
        return [*self.errors, *self.timings]


def compare_sides(sides: Sequence[Side], smallest: Smallest, normaliser: str | None, seed: int = 0) -> list[Comparison]:
    """Compare every side with the first; raises UsageError for sides that cannot be compared."""
    for other in sides[1:]:
        if [(run.path, arm) for run, arm in other.recorded] == [(run.path, arm) for run, arm in sides[0].recorded]:
            raise UsageError("both sides are the same record", other.name, "compare two runs, or two arms of one")
    notes = measure(sides, normaliser)
    return [compared(sides[0], other, smallest, notes, seed) for other in sides[1:]]


def compared(a: Side, b: Side, smallest: Smallest, notes: Sequence[str] = (), seed: int = 0) -> Comparison:
    """Compare two sides that were measured."""
    shared_times = [key for key in a.times if key in b.times]
    shared_errors = [key for key in a.errors if key in b.errors]
    alone = sorted((a.times.keys() ^ b.times.keys()) | (a.errors.keys() ^ b.errors.keys()))
    told = [*notes, *(line for side in (a, b) for line in side.busy())]
    if min(len(a.runs), len(b.runs)) < 4 and not _one_run(a, b):  # noqa: PLR2004  RUNS_SPEAK, in words below
        told.append("fewer than four runs a side: what differs from run to run is in no interval")
    return Comparison(
        a.name,
        b.name,
        smallest,
        tuple(timing(key, *_values(a, b, key), smallest.share, seed) for key in shared_times),
        tuple(
            found
            for key in shared_errors
            if (found := errors(key, a.heard(key), b.heard(key), smallest.points, seed=seed)) is not None
        ),
        tuple(alone),
        tuple(told),
    )


def _one_run(a: Side, b: Side) -> bool:
    """Tell whether both are arms of one run, which took turns."""
    return [run.path for run in a.runs] == [run.path for run in b.runs]


def _values(a: Side, b: Side, key: str) -> tuple[str, list[float], list[float]]:
    (first, unit), (second, other) = a.values(key), b.values(key)
    if unit == other:
        return unit, first, second
    merged = [[value for run in side.times[key] for value in run] for side in (a, b)]
    return a.units[key], merged[0], merged[1]


def timing(key: str, unit: str, a: Sequence[float], b: Sequence[float], smallest: float, seed: int = 0) -> Timing:
    """Judge a time whose values are `a` and `b`."""
    ratio = compare_times(a, b, seed=seed)
    needed = values_needed(a, b, smallest)
    there = min(len(a), len(b))
    is_apart = ratio.p <= SIGNIFICANT
    wanted = MIN_UNITS if is_apart and there < MIN_UNITS else max(MIN_UNITS, needed or 0)
    verdict: Verdict
    if is_apart and there >= MIN_UNITS and ratio.low > 1:
        verdict = "worse"
    elif is_apart and there >= MIN_UNITS and ratio.high < 1:
        verdict = "better"
    else:
        verdict = "no difference found" if there >= wanted and needed is not None else "not enough"
    more = max(1, wanted - there) if verdict == "not enough" and (needed is not None or there < MIN_UNITS) else None
    return Timing(key, unit, ratio, verdict, more, outliers(a) + outliers(b))


def errors(
    key: str,
    a: Mapping[str, Heard],
    b: Mapping[str, Heard],
    smallest_points: float,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Errors | None:
    """Judge an error rate over the utterances that both attempted with one reference; None without any word."""
    pairs = [(one, b[name]) for name, one in a.items() if name in b and b[name].length == one.length]
    words = sum(one.length for one, _ in pairs)
    if not words:
        return None
    extra = [other.errors - one.errors for one, other in pairs]
    limits = block_interval(
        extra, [one.length for one, _ in pairs], [one.block for one, _ in pairs], signed=True, resamples=resamples,
        seed=seed,
    )  # fmt: skip
    difference = sum(extra) / words
    margin = smallest_points / PERCENT
    verdict: Verdict
    more = None
    if limits.units < MIN_SOUND:
        verdict, more = "not enough", MIN_SOUND - limits.units
    elif limits.low > 0:
        verdict = "worse"
    elif limits.high < 0:
        verdict = "better"
    elif -margin < limits.low and limits.high < margin:
        verdict = "no difference found"
    else:
        verdict, more = "not enough", _more_utterances(limits, difference, margin, len(pairs))
    rate_a, rate_b = (sum(side.errors for side in sides) / words for sides in zip(*pairs, strict=True))
    return Errors(key, rate_a, rate_b, difference, limits, len(pairs), verdict, more)


def _more_utterances(limits: Interval, difference: float, margin: float, there: int) -> int | None:
    """Return how many more would show a difference of the margin, or that there is none, at 99 %."""
    half = max(limits.high - difference, difference - limits.low)
    normal = NormalDist()
    reach = (normal.inv_cdf(0.975) + normal.inv_cdf(POWER)) / normal.inv_cdf(0.975)
    needed = math.ceil(there * (half * reach / margin) ** 2)
    return max(1, needed - there) if needed < MOST_ASKED else None
