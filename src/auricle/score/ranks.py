"""Whether times of one arm are longer than those of another: rank test, effect size, ratio of medians, sample size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Values = NDArray[np.float64]

RESAMPLES = 2000
EXACT_PAIRS = 900  # Up to 30 values a side the null distribution is counted; beyond, and with ties, it is normal.
POWER = 0.99
SPREAD_CONFIDENCE = 0.8
"""A spread that is known from few values is taken at its upper limit of this confidence."""
SIGNIFICANT = 0.02
"""The level of the rank test. Whoever takes as many more values as are asked for looks twice, or three times: that all
of these looks together raise no more than 5 % of false alarms is what `tools/check_comparisons.py` measures."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median of B over median of A with a 95 % bootstrap interval; `p` is Mann-Whitney's, two-sided.

    `superiority` is the probability that a value of B is above one of A, ties counted half: 0.5 is no effect.
    """

    median_a: float
    median_b: float
    ratio: float
    low: float
    high: float
    p: float
    superiority: float
    n_a: int
    n_b: int


def compare_times(a: Sequence[float], b: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0) -> Ratio:
    """Compare positive values, infinite where something never came; raises UsageError for no values or others."""
    first, second = (np.asarray(values, dtype=np.float64) for values in (a, b))
    if not (first.size and second.size):
        raise UsageError("no values to compare")
    if not (np.all(first >= 0) and np.all(second >= 0)):
        raise UsageError("times are not negative")
    p, superiority = mann_whitney(first, second)
    middles = float(np.median(first)), float(np.median(second))
    rng = np.random.default_rng(seed)
    drawn = [
        np.median(values[rng.integers(0, values.size, (resamples, values.size))], axis=1) for values in (first, second)
    ]
    ratios = np.array([_ratio(one, other) for one, other in zip(*drawn, strict=True)])
    low, high = (float(limit) for limit in np.quantile(ratios, [0.025, 0.975], method="nearest"))
    return Ratio(*middles, _ratio(*middles), low, high, p, superiority, first.size, second.size)


def _ratio(a: float, b: float) -> float:
    if a == b:
        return 1.0
    return math.inf if a == 0 or math.isinf(b) else float(b / a)


def mann_whitney(a: Values, b: Values) -> tuple[float, float]:
    """Return the two-sided p of Mann & Whitney (1947) and the probability of superiority U ÷ (n m) of B over A."""
    ordered = np.sort(a)
    below = np.searchsorted(ordered, b, "left")
    upto = np.searchsorted(ordered, b, "right")
    u = float((below + upto).sum()) / 2
    pairs = a.size * b.size
    _, counts = np.unique(np.concatenate([a, b]), return_counts=True)
    if counts.max() == 1 and pairs <= EXACT_PAIRS:
        ways = _ways(a.size, b.size)
        tail = float(ways[: int(min(u, pairs - u)) + 1].sum() / ways.sum())
        return min(1.0, 2 * tail), u / pairs
    total = a.size + b.size
    ties = float((counts**3 - counts).sum()) / (total * (total - 1)) if total > 1 else 0.0
    variance = pairs / 12 * (total + 1 - ties)
    if variance <= 0:
        return 1.0, u / pairs
    distance = max(0.0, abs(u - pairs / 2) - 0.5) / math.sqrt(variance)
    return min(1.0, 2 * (1 - NormalDist().cdf(distance))), u / pairs


def _ways(n: int, m: int) -> Values:
    """Return in how many orders of n and m values each U from 0 to n m comes, by multiplying out its polynomial."""
    ways = np.zeros(n * m + 1)
    ways[0] = 1
    for k in range(1, n + 1):
        longer = ways.copy()
        longer[m + k :] -= ways[: max(0, ways.size - m - k)]
        for place in range(k, ways.size):
            longer[place] += longer[place - k]
        ways = longer
    return np.round(ways)


def outliers(values: Sequence[float]) -> int:
    """Count the values that lie more than three times the quartiles' distance beyond them (Tukey's far-out ones)."""
    known = np.asarray(values, dtype=np.float64)
    low, high = np.quantile(known, [0.25, 0.75], method="nearest")
    reach = 3 * (high - low)
    return int(((known < low - reach) | (known > high + reach)).sum()) if math.isfinite(reach) else 0


def values_needed(a: Sequence[float], b: Sequence[float], smallest: float) -> int | None:
    """Return how many values a side show a ratio of medians of 1 + `smallest` with a probability of 99 %.

    From the spread of the logarithms of both sides, taken at its upper 80 % limit (chi-squared by Wilson & Hilferty
    1931), and the variance of a median, pi/2 times that of a mean. None where the spread is not known: fewer than
    three values a side, zero, or values that never came.
    """
    logs = []
    for values in (a, b):
        known = np.asarray(values, dtype=np.float64)
        if known.size < 3 or not np.all(np.isfinite(known)) or np.any(known <= 0):  # noqa: PLR2004
            return None
        logs.append(np.log(known))
    degrees = sum(one.size - 1 for one in logs)
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in logs)
    z = NormalDist().inv_cdf(1 - SPREAD_CONFIDENCE)
    quantile = degrees * (1 - 2 / (9 * degrees) + z * math.sqrt(2 / (9 * degrees))) ** 3
    reach = NormalDist().inv_cdf(1 - SIGNIFICANT / 2) + NormalDist().inv_cdf(POWER)
    return math.ceil(2 * (math.pi / 2) * squares / quantile * (reach / math.log1p(smallest)) ** 2)
