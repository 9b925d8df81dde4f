"""How a comparison is put into words and tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from auricle.report.tables import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auricle.report.compare import Comparison, Errors, Timing

PERCENT = 100
LEAST_P = 0.001


def headline(comparison: Comparison) -> str:
    """Return the verdicts on one line, the metrics of each named."""
    found: dict[str, list[str]] = {}
    for one in comparison.metrics:
        found.setdefault(one.verdict, []).append(one.key)
    order = ("worse", "better", "no difference found", "not enough")
    told = [f"{verdict}: {', '.join(found[verdict])}" for verdict in order if verdict in found]
    return "; ".join(told) or "nothing to compare"


def rates_grid(found: Sequence[Errors]) -> Grid:
    """Return the table of error rates."""
    right = ("A %", "B %", "B - A, points (95 %)", "utterances")
    rows = tuple(
        (
            one.key,
            f"{PERCENT * one.rate_a:.2f}",
            f"{PERCENT * one.rate_b:.2f}",
            "{:+.2f} ({:+.2f} to {:+.2f})".format(
                *(PERCENT * value for value in (one.difference, one.interval.low, one.interval.high))
            ),
            str(one.utterances),
            verdict(one),
        )
        for one in found
    )
    return Grid("Errors, paired by utterance", ("metric", *right, "verdict"), right, rows)


def times_grid(found: Sequence[Timing]) -> Grid:
    """Return the table of times."""
    right = ("A", "B", "B / A (95 %)", "p", "P(B > A)", "values")
    rows = tuple(
        (
            one.key,
            _figure(one.ratio.median_a),
            _figure(one.ratio.median_b),
            f"{one.ratio.ratio:.3f} ({one.ratio.low:.3f} to {one.ratio.high:.3f})",
            "<0.001" if one.ratio.p < LEAST_P else f"{one.ratio.p:.3f}",
            f"{one.ratio.superiority:.2f}",
            f"{one.ratio.n_a}, {one.ratio.n_b} {one.unit}",
            verdict(one),
        )
        for one in found
    )
    title = "Times: medians in s (live: ms), memory in MB; Mann-Whitney p and effect, bootstrap of the ratio"
    return Grid(title, ("metric", *right, "verdict"), right, rows)


def verdict(one: Timing | Errors) -> str:
    """Return the verdict, and how many more would do."""
    if one.verdict != "not enough":
        return one.verdict
    unit = getattr(one, "unit", "utterances")
    more = "" if one.more is None else f": {one.more} more would do"
    return f"not enough {unit}{more}"


def _figure(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.4g}"


def notes(comparison: Comparison) -> Iterator[str]:
    """Yield what to beware of."""
    yield from comparison.notes
    if comparison.alone:
        yield f"measured on one side alone: {', '.join(comparison.alone)}"
    yield from dict.fromkeys(one.interval.caveat for one in comparison.errors if one.interval.caveat)
    if far := [f"{one.key} {one.outliers}" for one in comparison.timings if one.outliers]:
        yield f"values far from the rest, kept: {', '.join(far)}; a quieter machine or more warm-up gives fewer"
    if len(comparison.metrics) > 1:
        yield f"{len(comparison.metrics)} metrics are judged, each with up to 5 % of false alarms: distrust a lone one"
    share, points = comparison.smallest.share, comparison.smallest.points
    yield f"no difference: of {PERCENT * share:g} % or more of a time, {points:g} points or more of an error rate"
