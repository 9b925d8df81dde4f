"""`auricle compare`: whether one run is better than another, or not enough was seen to tell."""

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
    from collections.abc import Sequence

    from auricle.bench.records import Run
    from auricle.report.compare import Comparison
    from auricle.report.gate import FalseAlarms, Gate, Judged
    from auricle.report.sides import Side

PERCENT = 100


def compare(
    sides: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN[@ARM][+RUN...] ...", help="Two sides or more; `+` joins runs to one side."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare one side with the kept `baseline` or `previous`.")
    ] = None,
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
    from auricle.report.gate import fails as gate_fails
    from auricle.report.gate import false_alarms, judge, read_gate
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
    from auricle.report.compare_tables import headline, notes, rates_grid, times_grid
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
    for line in notes(comparison):
        say(f"note: {line}")


def _answer(
    comparison: Comparison,
    differ: Sequence[tuple[str, str, str]],
    judged: Sequence[Judged] | None,
    alarms: FalseAlarms | None,
    *,
    failed: bool,
) -> dict[str, Any]:
    from auricle.report.compare_tables import headline

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
