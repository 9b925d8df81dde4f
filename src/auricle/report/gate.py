"""A gate for CI: does side B keep within the margins of side A? And how often it fails when nothing has changed.

A gate file (TOML) names margins, times in per cent and error rates in points:

    undecided = "pass"            # or "fail": where not enough was seen to tell
    [margins]
    wer_points = 0.5
    total_percent = 10
    final_percent = 20            # of live runs: at every number of streams
    "final@8_percent" = 10        # or at one

A metric fails when it is worse (`auricle.report.compare`) and by more than its margin. It is within the margin when the
upper limit of the interval is, else undecided. A margin whose metric was not measured on both sides fails.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from auricle.errors import UsageError
from auricle.report.compare import PERCENT, Comparison, Errors, Smallest, Timing, compared, errors, timing
from auricle.score.bootstrap import MIN_SOUND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from auricle.report.sides import Heard, Side

Outcome = Literal["within the margin", "fails", "undecided", "not measured"]
TRIALS = 400
TRIAL_RESAMPLES = 400
SUFFIXES = {"_percent": PERCENT, "_points": PERCENT}
NORMAL_975 = 1.959964


@dataclass(frozen=True, slots=True)
class Gate:
    """Margins by metric (0.1 is 10 per cent, or 10 points), and what an undecided one does."""

    margins: Mapping[str, float]
    undecided_fails: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """One metric at the gate: `difference` and `high` (upper limit) of side B, as shares or as points ÷ 100."""

    key: str
    margin: float
    difference: float | None
    high: float | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """How often the gate failed on two draws of the baseline, with 95 % limits, and on pairs of its real runs."""

    failed: int
    trials: int
    low: float
    high: float
    pairs_failed: int
    pairs: int


def read_gate(path: Path) -> Gate:
    """Read a gate file; raises UsageError for what it does not understand, and for a gate without margins."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError("the gate cannot be read", f"{path} ({error})", "write TOML with [margins]") from error
    if unknown := found.keys() - {"undecided", "margins"}:
        raise UsageError("unknown in a gate", f"{path}: {', '.join(sorted(unknown))}", "known are undecided, margins")
    undecided, margins = found.get("undecided", "pass"), found.get("margins")
    if undecided not in {"pass", "fail"}:
        raise UsageError("undecided is pass or fail", f"{path}: {undecided}")
    if not isinstance(margins, dict) or not margins:
        raise UsageError("the gate has no margins, so it would measure nothing", path, "add [margins]")
    return Gate(dict(_margin(name, value) for name, value in margins.items()), undecided == "fail")


def _margin(name: str, value: object) -> tuple[str, float]:
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)
    key = name.removesuffix(suffix or "")
    is_rate = key.partition("@")[0] in {"wer", "cer"}
    if suffix is None or is_rate != (suffix == "_points"):
        raise UsageError("not a margin", name, "write wer_points, cer_points, or a time such as total_percent")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UsageError(f"the margin {name} is a number above 0", value)
    return key, value / SUFFIXES[suffix]


def judge(gate: Gate, comparison: Comparison) -> list[Judged]:
    """Return the outcome of every margin; one without `@` holds at every number of live streams."""
    found: list[Judged] = []
    for key, margin in gate.margins.items():
        matching = [one for one in comparison.metrics if key in {one.key, _base(one.key)}]
        found += [_judged(one, margin) for one in matching]
        if not matching:
            found.append(Judged(key, margin, None, None, "not measured"))
    return found


def fails(gate: Gate, judged: Sequence[Judged]) -> bool:
    """Tell whether the gate fails: any metric that does, or was not measured, or is undecided where that counts."""
    bad = {"fails", "not measured", *(("undecided",) if gate.undecided_fails else ())}
    return not judged or any(one.outcome in bad for one in judged)


def _base(key: str) -> str:
    return key.partition("@")[0]


def _judged(one: Timing | Errors, margin: float) -> Judged:
    if isinstance(one, Timing):
        difference, high, sound = one.ratio.ratio - 1, one.ratio.high - 1, one.verdict != "not enough"
    else:
        difference, high, sound = one.difference, one.interval.high, one.interval.units >= MIN_SOUND
    outcome: Outcome = "undecided"
    if one.verdict == "worse" and difference > margin:
        outcome = "fails"
    elif sound and high < margin:
        outcome = "within the margin"
    return Judged(one.key, margin, difference, high, outcome)


def false_alarms(gate: Gate, a: Side, b: Side, trials: int = TRIALS, seed: int = 0) -> FalseAlarms:
    """Measure how often the gate fails when both sides are the same build.

    Times: both sides are drawn, with replacement, from side A's values in the numbers that A and B have; equal draws
    are told apart by less than a millionth. Errors: the two sides' errors of each speaker or recording are swapped at
    random. And every two runs of side A are compared as they are.
    """
    rng = np.random.default_rng(seed)
    keys = [key for key in a.times if key in b.times and _named(gate, key)]
    rates = [key for key in a.errors if key in b.errors and _named(gate, key)]
    failed = 0
    for trial in range(trials):
        found: list[Timing | Errors] = [_drawn(a, b, key, rng, trial) for key in keys]
        swapped = (_swapped(a.heard(key), b.heard(key), key, rng, trial) for key in rates)
        found += [one for one in swapped if one is not None]
        failed += any(_judged(one, _named(gate, one.key)).outcome == "fails" for one in found)
    pairs = [
        judge(gate, compared(a.part(one), a.part(other), Smallest()))
        for one in range(len(a.runs))
        for other in range(one + 1, len(a.runs))
    ]
    pairs_failed = sum(any(one.outcome == "fails" for one in judged) for judged in pairs)
    return FalseAlarms(failed, trials, *wilson(failed, trials), pairs_failed, len(pairs))


def _named(gate: Gate, key: str) -> float:
    """Return the margin of a metric; 0 for one without."""
    return gate.margins.get(key, gate.margins.get(_base(key), 0.0))


def _drawn(a: Side, b: Side, key: str, rng: np.random.Generator, seed: int) -> Timing:
    values, unit = a.values(key)
    others, other_unit = b.values(key)
    sizes = len(values), len(others) if other_unit == unit else len(values)
    jitter = 1e-7
    first, second = (rng.choice(values, size) * (1 + jitter * rng.standard_normal(size)) for size in sizes)
    return timing(key, unit, first.tolist(), second.tolist(), Smallest().share, seed)


def _swapped(
    a: Mapping[str, Heard], b: Mapping[str, Heard], key: str, rng: np.random.Generator, seed: int
) -> Errors | None:
    by_block = len({one.block for one in a.values()}) >= MIN_SOUND
    units = {name: one.block if by_block else name for name, one in a.items() if name in b}
    names = sorted(set(units.values()))
    coins = dict(zip(names, rng.integers(0, 2, len(names)), strict=True))
    first = {name: b[name] if coins[unit] else a[name] for name, unit in units.items()}
    second = {name: a[name] if coins[unit] else b[name] for name, unit in units.items()}
    return errors(key, first, second, 1.0, resamples=TRIAL_RESAMPLES, seed=seed)


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Return the 95 % limits of a proportion (Wilson 1927)."""
    centre = (hits + NORMAL_975**2 / 2) / (total + NORMAL_975**2)
    half = NORMAL_975 / (total + NORMAL_975**2) * math.sqrt(hits * (total - hits) / total + NORMAL_975**2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def lines(gate: Gate, judged: Sequence[Judged], alarms: FalseAlarms) -> Iterator[str]:
    """Yield what the gate says, its verdict first."""
    yield f"Gate: {'FAILS' if fails(gate, judged) else 'passes'}."
    for one in judged:
        scale = "points" if _base(one.key) in {"wer", "cer"} else "%"
        if one.difference is None or one.high is None:
            yield f"  {one.key}: not measured on both sides"
            continue
        yield (
            f"  {one.key}: {one.outcome} ({PERCENT * one.difference:+.2f} {scale}, at most {PERCENT * one.high:+.2f}; "
            f"margin {PERCENT * one.margin:g} {scale})"
        )
    yield (
        f"  false alarms, the baseline against itself: {alarms.failed} of {alarms.trials} drawn comparisons "
        f"({PERCENT * alarms.low:.1f} to {PERCENT * alarms.high:.1f} %)"
        + (
            f", {alarms.pairs_failed} of {alarms.pairs} pairs of its runs"
            if alarms.pairs
            else "; what differs from run to run is not in that: keep several runs as the baseline"
        )
    )
