"""`auricle compare`: is one run better than another, or not enough seen to tell?"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.cli.console import AsJson, print_grid, print_json, say
from auricle.cli.runs import DEFAULT_ROOT, RunsRoot
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auricle.bench.records import Run
    from auricle.report.compare import Comparison, Errors, Timing
    from auricle.report.gate import FalseAlarms, Gate, Judged
    from auricle.report.sides import Side
    from auricle.report.tables import Grid

PERCENT = 100


def compare(
    sides: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN[@ARM][+RUN...] ...", help="Two sides or more; `+` joins runs to one side."),
    ] = None,
    against: Annotated[str | None, typer.Option(help="Compare one side with the kept `baseline` or `previous`.")] = None,
    gate: Annotated[Path | None, typer.Option(help="TOML of margins; exit 1 when one is exceeded.")] = None,
    keep: Annotated[list[str] | None, typer.Option(metavar="RUN", help="Keep as the baseline; repeatable.")] = None,
    smallest_percent: Annotated[float, typer.Option(help="Smallest difference of times that matters.")] = 5.0,
    smallest_points: Annotated[float, typer.Option(help="Smallest difference of WER that matters, in points.")] = 1.0,
    normaliser: Annotated[str | None, typer.Option(help="Score both sides so; otherwise as the first was.")] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    root: RunsRoot = DEFAULT_ROOT,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: AsJson = False,
) -> int:
    """Compare runs with the first: a verdict for each metric. One run of several arms: its arms with the first."""
    from auricle.report.baseline import keep as keep_baseline
    from auricle.report.compare import Smallest, compare_sides
    from auricle.report.gate import false_alarms, judge, read_gate
    from auricle.report.gate import fails as gate_fails
    from auricle.report.reading import open_run
    from auricle.report.surroundings import differences

    if keep:
        keep_baseline(root, [open_run(name, root, say) for name in keep])
        say(f"kept as the baseline: {', '.join(keep)}")
        if not sides:
            return 0
    if not (smallest_percent > 0 and smallest_points > 0):
        raise UsageError("the smallest difference that matters is above 0", f"{smallest_percent}, {smallest_points}")
    rules = None if gate is None else read_gate(gate)
    chosen = _sides(sides or [], against, root)
    smallest = Smallest(smallest_percent / PERCENT, smallest_points)
    scored_by = normaliser or chosen[0].runs[0].info["settings"]["normaliser"]
    found = compare_sides(chosen, smallest, scored_by, seed)
    failed = False
    answers: list[dict[str, Any]] = []
    for other, comparison in zip(chosen[1:], found, strict=True):
        differ = differences(chosen[0], other)
        judged = None if rules is None else judge(rules, comparison)
        alarms = None if rules is None else false_alarms(rules, chosen[0], other, seed=seed)
        if rules is not None and judged is not None:
            failed |= gate_fails(rules, judged)
        if as_json:
            answers.append(_answer(comparison, differ, judged, alarms, failed=failed))
        else:
            _print(comparison, differ, rules, judged, alarms, markdown=markdown)
    for answer in answers:
        print_json(answer)
    return 1 if failed else 0


def _sides(names: Sequence[str], against: str | None, root: Path) -> list[Side]:
    from auricle.report.baseline import find
    from auricle.report.reading import open_run
    from auricle.report.sides import arms_of, open_side

    def opened(text: str) -> list[tuple[Run, str | None]]:
        pairs = []
        for part in text.split("+"):
            name, _, arm = part.partition("@")
            pairs.append((open_run(name, root, say), arm or None))
        return pairs

    if against is not None:
        if against not in {"baseline", "previous"} or len(names) != 1:
            raise UsageError("compare one side", f"--against {against}", "against baseline or previous")
        side = opened(names[0])
        before = find(root, side[0][0], "baseline" if against == "baseline" else "previous", say)
        others = [(run, side[0][1]) for run in before]
        return [open_side(others, f"{against}: {'+'.join(run.id for run in before)}"), open_side(side, names[0])]
    if len(names) == 1:
        run, arm = opened(names[0])[0]
        arms = [] if arm is not None else arms_of(run.events())
        if len(arms) > 1:
            return [open_side([(run, one)], f"{run.id}@{one}") for one in arms]
    if len(names) < 2:  # noqa: PLR2004  two sides
        raise UsageError("two sides are compared", " ".join(names) or None, "name two runs, or use --against")
    return [open_side(opened(text), text) for text in names]


def _print(
    comparison: Comparison,
    differ: Sequence[tuple[str, str, str]],
    rules: Gate | None,
    judged: Sequence[Judged] | None,
    alarms: FalseAlarms | None,
    *,
    markdown: bool,
) -> None:
    from auricle.report.gate import lines
    from auricle.report.surroundings import shown

    print(f"{comparison.b} against {comparison.a}: {headline(comparison)}")
    if rules is not None and judged is not None and alarms is not None:
        for line in lines(rules, judged, alarms):
            print(line)
    print("They differ in:" if differ else "Their surroundings do not differ.")
    for line in shown(differ):
        print(line)
    print_grid(rates_grid(comparison.errors), as_markdown=markdown)
    print_grid(times_grid(comparison.timings), as_markdown=markdown)
    for line in _notes(comparison):
        say(f"note: {line}")


def headline(comparison: Comparison) -> str:
    """Return the verdicts on one line, the metrics of each named."""
    found: dict[str, list[str]] = {}
    for one in (*comparison.errors, *comparison.timings):
        found.setdefault(one.verdict, []).append(one.key)
    order = ("worse", "better", "no difference found", "not enough")
    told = [f"{verdict}: {', '.join(found[verdict])}" for verdict in order if verdict in found]
    return "; ".join(told) or "nothing to compare"


def rates_grid(found: Sequence[Errors]) -> Grid:
    """Return the table of error rates."""
    from auricle.report.tables import Grid

    right = ("A %", "B %", "B - A, points (95 %)", "utterances")
    rows = tuple(
        (
            one.key,
            f"{PERCENT * one.rate_a:.2f}",
            f"{PERCENT * one.rate_b:.2f}",
            f"{PERCENT * one.difference:+.2f} ({PERCENT * one.interval.low:+.2f} to {PERCENT * one.interval.high:+.2f})",
            str(one.utterances),
            verdict(one),
        )
        for one in found
    )
    return Grid("Errors, paired by utterance", ("metric", *right, "verdict"), right, rows)


def times_grid(found: Sequence[Timing]) -> Grid:
    """Return the table of times."""
    from auricle.report.tables import Grid

    right = ("A", "B", "B / A (95 %)", "p", "P(B > A)", "values")
    rows = tuple(
        (
            one.key,
            _figure(one.ratio.median_a),
            _figure(one.ratio.median_b),
            f"{one.ratio.ratio:.3f} ({one.ratio.low:.3f} to {one.ratio.high:.3f})",
            f"{one.ratio.p:.3f}",
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


def _notes(comparison: Comparison) -> Iterator[str]:
    yield from comparison.notes
    if comparison.alone:
        yield f"measured on one side alone: {', '.join(comparison.alone)}"
    yield from dict.fromkeys(one.interval.caveat for one in comparison.errors if one.interval.caveat)
    share, points = comparison.smallest.share, comparison.smallest.points
    yield f"no difference: of {PERCENT * share:g} % or more of a time, {points:g} points or more of an error rate"


def _answer(
    comparison: Comparison,
    differ: Sequence[tuple[str, str, str]],
    judged: Sequence[Judged] | None,
    alarms: FalseAlarms | None,
    *,
    failed: bool,
) -> dict[str, Any]:
    gate = None
    if judged is not None and alarms is not None:
        gate = {"fails": failed, "metrics": [asdict(one) for one in judged], "false_alarms": asdict(alarms)}
    found: dict[str, Any] = _finite(
        {"headline": headline(comparison), **asdict(comparison), "environment": differ, "gate": gate}
    )
    return found


def _finite(value: Any) -> Any:
    """Return JSON without infinity, which is null there."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
