"""Statistics of timings that claim no more than the number of observations supports."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MISSED = 0.01  # 99 % confidence


@dataclass(frozen=True, slots=True)
class Median:
    """A median and its 95 % interval, in the unit of the values; without limits below six values: not enough runs."""

    value: float
    low: float | None
    high: float | None


def median_interval(values: Sequence[float]) -> Median:
    """Return the median with exact limits, two order statistics whatever the distribution (Conover 1999, 3.2).

    The k-th smallest and k-th largest of n values hold the median with probability 1 - 2 P(B < k), B binomial
    (n, 0.5). Raises UsageError for no values.
    """
    if not values:
        raise UsageError("no values to take the median of")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = ordered.size
    steps = np.arange(count // 2 + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log((count - steps) / (steps + 1)))]) - count * math.log(2)
    rank = int(np.searchsorted(np.cumsum(np.exp(logs)), 0.025, side="right"))
    middle = float(np.median(ordered))
    return Median(middle, float(ordered[rank - 1]), float(ordered[-rank])) if rank else Median(middle, None, None)


def percentile(values: Sequence[float], quantile: float, independent: int | None = None) -> float | None:
    """Return the smallest value with at least a share `quantile` of the values at or below it, or None.

    None when there are fewer observations than `observations_needed`; `independent` counts those that are independent
    (streams, or seconds) where the values are not. Raises UsageError for a quantile outside (0, 1).
    """
    if (len(values) if independent is None else independent) < observations_needed(quantile):
        return None
    return float(np.quantile(np.asarray(values, dtype=np.float64), quantile, method="inverted_cdf"))


def observations_needed(quantile: float, late: int = 0) -> int:
    """Return the fewest observations that prove a tail at 99 % confidence with at most `late` of them beyond it.

    That is the smallest n with P(B <= late) <= 1 %, B binomial (n, 1 - quantile): for none late, quantile^n <= 1 %.
    Below the median the other tail counts. Raises UsageError for a quantile outside (0, 1).
    """
    if not 0 < quantile < 1:
        raise UsageError("a quantile lies between 0 and 1", quantile)
    beyond = min(quantile, 1 - quantile)
    most = math.ceil(10 * (late + 1) / beyond)
    return bisect.bisect_left(range(most), True, lo=late + 1, key=lambda n: at_most(late, n, beyond) <= _MISSED)


def at_most(most: int, count: int, probability: float) -> float:
    """Return P(B <= most) for B binomial (count, probability in (0, 1)), by logarithms so that nothing overflows."""
    return math.fsum(
        math.exp(
            math.lgamma(count + 1)
            - math.lgamma(k + 1)
            - math.lgamma(count - k + 1)
            + k * math.log(probability)
            + (count - k) * math.log1p(-probability)
        )
        for k in range(most + 1)
    )
