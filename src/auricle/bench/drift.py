"""Whether latency grows while a stream goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.score.bootstrap import MIN_SOUND, ratio_limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def pooled_slope(lines: Iterable[tuple[Floats, Floats]], seed: int) -> dict[str, Any] | None:
    """Return the slope of latency over stream time in ms per second, pooled within streams, with its 95 % interval.

    A line is the times `(chunks,)` of a stream in seconds and its latencies there in ms. Within a stream the slope is
    sum (x - mean x)(y - mean y) ÷ sum (x - mean x)²; sums over streams are divided, and streams resampled; fewer than
    ten bear no interval. None without a line of two points.
    """
    numerators, denominators = [], []
    for at_s, latency_ms in lines:
        if len(at_s) < 2:  # noqa: PLR2004  a line needs two points
            continue
        from_mean = at_s - at_s.mean()
        numerators.append(float((from_mean * (latency_ms - latency_ms.mean())).sum()))
        denominators.append(float((from_mean**2).sum()))
    if not numerators:
        return None
    slopes = np.array(numerators), np.array(denominators)
    low, high = ratio_limits(*slopes, signed=True, seed=seed)[:2] if len(numerators) >= MIN_SOUND else (None, None)
    return {"ms_per_s": float(slopes[0].sum() / slopes[1].sum()), "low": low, "high": high, "streams": len(numerators)}
