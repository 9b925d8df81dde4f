"""The 95 % interval of a ratio of sums, such as errors ÷ reference words, over independent units.

Units (speakers, recordings, utterances) are resampled with replacement (Bisani & Ney 2004). Percentiles of the
resampled ratio cover too little with few or unequal units, so the ratio is studentised: each resample gives its ratio's
distance from the ratio in standard errors of its own (by linearisation), and the quantiles of these are the limits.
Each is the wider of two: the equal-tailed one, which follows the skew of an error rate, with its quantiles taken
further out as Student's t lies beyond the normal (Hesterberg 2015), and the symmetric one (Hall 1988), which is right
where the data are sparse. `tools/check_statistics.py` measures the coverage.

A resample that draws few different units has an error close to zero, and a distance that means nothing. Below ten
units, and where a limit lies beyond the ratio of every single unit, the limits are therefore percentiles of the
resampled ratio, taken further out likewise: they cannot leave the range of the units. They cover too little.

Where fewer than six units hold anything but zero no resampling can tell much: the number of such units is then taken as
a Poisson count, with exact limits, times the mean of what they hold; but no rate is put above both 1 and that of every
unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Integers = NDArray[np.int64]

CONFIDENCE = 0.95
RESAMPLES = 10_000
MIN_BLOCKS = 20  # With fewer speakers their spread is hardly known.
MIN_SOUND = 10  # With fewer units a resample's own error is often close to zero; nothing is decided by them.
MIN_UNITS = 6  # A sign test on fewer cannot reach 5 %: 2 x 0.5^5 is 0.0625.

Method = Literal["studentised bootstrap", "percentile bootstrap", "Poisson limits"]

# Exact 95 % limits of a Poisson mean after 0, 1, ... 5 events (Garwood 1936).
_POISSON = ((0.0, 3.6889), (0.0253, 5.5716), (0.2422, 7.2247), (0.6187, 8.7673), (1.0899, 10.2416), (1.6235, 11.6683))
_DRAWS_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval, how it was made and what to beware of ("" when nothing); `units` were resampled."""

    low: float
    high: float
    method: Method
    resampled: Literal["blocks", "utterances"]
    units: int
    caveat: str = ""
    confidence: float = CONFIDENCE


def block_interval(
    errors: Sequence[float],
    lengths: Sequence[float],
    blocks: Sequence[str],
    *,
    signed: bool = False,
    min_blocks: int = MIN_BLOCKS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the interval of sum(errors) ÷ sum(lengths) over utterances that lie in blocks.

    With `min_blocks` or more the blocks are resampled; with fewer the utterances are, which measures these speakers
    only, and the caveat says so. `signed`: the errors are differences of two runs.
    """
    _, speaker = np.unique(np.array(blocks), return_inverse=True)
    speakers = int(speaker.max()) + 1
    by_speaker = speakers >= min_blocks
    numerators, denominators = _sums(errors, lengths, speaker if by_speaker else np.arange(len(blocks)))
    low, high, method = ratio_limits(numerators, denominators, signed=signed, resamples=resamples, seed=seed)
    resampled: Literal["blocks", "utterances"] = "blocks" if by_speaker else "utterances"
    caveats = []
    if not by_speaker:
        other = ratio_limits(*_sums(errors, lengths, speaker), signed=signed, resamples=resamples, seed=seed)
        caveats.append(
            f"too few speakers ({speakers} < {min_blocks}): utterances resampled, it holds for these speakers; "
            f"for others {100 * other[0]:.1f} to {100 * other[1]:.1f} %"
        )
    equal = float(denominators.sum() ** 2 / (denominators**2).sum())
    if by_speaker and equal < min_blocks:
        caveats.append(f"{speakers} unequal speakers weigh like {equal:.0f} equal ones: it may be too narrow")
    if numerators.size < MIN_SOUND:
        caveats.append(f"too few {resampled} ({numerators.size} < {MIN_SOUND}): {method}, too narrow")
    if method == "Poisson limits":
        kind = "differ" if signed else "hold errors"
        caveats.append(f"only {np.count_nonzero(numerators)} {resampled} {kind}: exact Poisson limits")
    return Interval(low, high, method, resampled, numerators.size, "; ".join(caveats))


def ratio_limits(
    numerators: Values, denominators: Values, *, signed: bool = False, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float, Method]:
    """Return 95 % limits of sum(numerators) ÷ sum(denominators), both of shape `(units,)`, and how they were made.

    `signed` says that a numerator may be negative, as that of a difference of two runs.
    """
    if np.count_nonzero(numerators) < MIN_UNITS:
        low, high = (limit / float(denominators.sum()) for limit in _poisson_limits(numerators, signed=signed))
        most = math.inf if signed else max(1.0, _range(numerators, denominators)[1])
        return low, min(high, most), "Poisson limits"
    ratio, error = _ratio_and_error(_moments(numerators, denominators).sum(axis=0), numerators.size)
    if error == 0:
        return float(ratio), float(ratio), "studentised bootstrap"
    ratios, errors = resample(numerators, denominators, resamples, seed)
    steps = _student_steps((ratios - ratio) / np.where(errors > 0, errors, np.nan), numerators.size)
    low, high = float(ratio - steps[0] * error), float(ratio + steps[1] * error)
    least, most = _range(numerators, denominators)
    is_sound = math.isfinite(high - low) and high <= most and (low >= least or not signed)
    if numerators.size >= MIN_SOUND and is_sound:
        return low if signed else max(low, 0.0), high, "studentised bootstrap"
    tail = _tail(numerators.size)
    low, high = (float(limit) for limit in np.quantile(ratios, [tail, 1 - tail]))
    return low, high, "percentile bootstrap"


def resample(numerators: Values, denominators: Values, resamples: int, seed: int) -> tuple[Values, Values]:
    """Return the ratio and its standard error in each of `resamples` draws of all units with replacement."""
    units = numerators.size
    moments = _moments(numerators, denominators)
    rng = np.random.default_rng(seed)
    sums = []
    portion = max(1, _DRAWS_AT_ONCE // units)
    for start in range(0, resamples, portion):
        size = min(portion, resamples - start)
        draws = rng.integers(0, units, (size, units)) + units * np.arange(size)[:, None]
        times = np.bincount(draws.ravel(), minlength=size * units).reshape(size, units)
        sums.append(times @ moments)
    return _ratio_and_error(np.concatenate(sums), units)


def _range(numerators: Values, denominators: Values) -> tuple[float, float]:
    """Return the least and the greatest ratio of a single unit; unbounded where a unit has no denominator."""
    ratios = np.divide(numerators, denominators, out=np.full_like(numerators, np.nan), where=denominators > 0)
    if np.isnan(ratios).any():
        return -math.inf, math.inf
    return float(ratios.min()), float(ratios.max())


def _sums(errors: Sequence[float], lengths: Sequence[float], group: Integers) -> tuple[Values, Values]:
    numerators, denominators = np.bincount(group, weights=errors), np.bincount(group, weights=lengths)
    return numerators.astype(np.float64), denominators.astype(np.float64)


def _moments(numerators: Values, denominators: Values) -> Values:
    """Return what a ratio and its error are made of, shape `(units, 5)`."""
    x, y = numerators, denominators
    return np.stack([x, y, x * x, x * y, y * y], axis=1)


def _ratio_and_error(sums: Values, units: int) -> tuple[Values, Values]:
    """Return r = X ÷ Y and its standard error sqrt(n ÷ (n - 1) x sum of (x - r y)²) ÷ Y from sums `(…, 5)`.

    Rounding noise counts as no error; so does a draw without denominator, whose ratio is taken as 0.
    """
    x, y, xx, xy, yy = np.moveaxis(sums, -1, 0)
    total = np.where(y > 0, y, 1.0)
    ratio = np.where(y > 0, x, 0.0) / total
    squares = xx - 2 * ratio * xy + ratio * ratio * yy
    squares = np.where(squares > 1e-12 * xx, squares, 0.0)
    return ratio, np.sqrt(squares * units / (units - 1)) / total


def _student_steps(t: Values, units: int) -> tuple[float, float]:
    """Return how many standard errors below and above the ratio the limits lie; a draw without t is at both ends."""
    tail = _tail(units)
    missing = np.isnan(t)
    low = np.quantile(np.where(missing, -np.inf, t), tail, method="nearest")
    high = np.quantile(np.where(missing, np.inf, t), 1 - tail, method="nearest")
    both = np.quantile(np.where(missing, np.inf, np.abs(t)), CONFIDENCE, method="nearest")
    return max(float(high), float(both)), max(-float(low), float(both))


def _tail(units: int) -> float:
    """Return the share of resamples that lies beyond a limit (Hesterberg 2015, 3.4)."""
    return NormalDist().cdf(-math.sqrt(units / (units - 1)) * student_quantile(0.5 + CONFIDENCE / 2, units - 1))


def student_quantile(probability: float, degrees: int) -> float:
    """Return Student's quantile by the normal one (Abramowitz & Stegun 26.7.5); within 0.01 from five degrees on."""
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / degrees**power for power, term in enumerate(terms))


def _poisson_limits(values: Values, *, signed: bool) -> tuple[float, float]:
    """Return limits of the sum of values that are nearly all zero; those above and below zero are counted apart."""
    usual = float(np.abs(values[values != 0]).mean()) if np.any(values) else 1.0
    above_low, above_high = _poisson_sum(values[values > 0], usual)
    below_low, below_high = _poisson_sum(-values[values < 0], usual) if signed else (0.0, 0.0)
    return above_low - below_high, above_high - below_low


def _poisson_sum(values: Values, usual: float) -> tuple[float, float]:
    low, high = _POISSON[values.size]
    size = float(values.mean()) if values.size else usual
    return low * size, high * size
