"""A benchmark log as a Markdown file: an entry for each change, with what it did; the analysis is its author's.

An entry ends with a comment that names its run, by which the next one finds what to compare with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from auricle.bench.environment import summary as machine
from auricle.errors import UsageError
from auricle.files import write_text
from auricle.report import live_lines, offline_tables
from auricle.report.compare import Smallest, compare_sides
from auricle.report.compare_tables import headline, notes, rates_grid, times_grid
from auricle.report.document import grid_of, levels_of, live_verdicts
from auricle.report.reading import summary_of
from auricle.report.sides import arms_of, measure, open_side
from auricle.report.surroundings import differences, shown
from auricle.report.tables import Grid, markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from auricle.bench.records import Run
    from auricle.report.sides import Side

MARK = re.compile(r"^<!-- auricle run: (\S+) -->$", re.MULTILINE)
HEAD = "# Benchmark log\n\nEach entry is a change and what the benchmark said of it; `auricle log add` writes them.\n"
TO_WRITE = "_Not written yet._"
MOST_FILES = 12
PERCENT = 100
SPARKS = "▁▂▃▄▅▆▇█"


def add(path: Path, run: Run, note: str, find: Callable[[str], Run]) -> str:
    """Append the entry of a run to a log and return it; `find` opens the run of the entry before by its name.

    Raises UsageError for an empty note, or a run that has an entry already.
    """
    if not note.strip():
        raise UsageError("an entry needs a note of what was changed", repr(note))
    before = path.read_text(encoding="utf-8") if path.exists() else HEAD
    known = MARK.findall(before)
    if run.id in known:
        raise UsageError("the run has an entry already", f"{run.id} in {path}", "run the benchmark again")
    entry = "\n".join(_entry(run, note.strip(), known[-1] if known else None, find)).rstrip() + "\n"
    write_text(path, f"{before.rstrip()}\n\n{entry}")
    return entry


def _entry(run: Run, note: str, before: str | None, find: Callable[[str], Run]) -> Iterator[str]:
    title, _, rest = note.partition("\n")
    yield f"## {run.info['started'][:10]}: {title}"
    yield ""
    yield f"**Change.** {rest.strip() or title}"
    yield ""
    yield from _configuration(run)
    yield ""
    summary = summary_of(run)
    if run.info["kind"] == "live":
        yield from (f"- {line}" for line in live_verdicts(summary, run.info["settings"]))
        yield ""
    for grid in _tables(run, summary):
        yield from markdown(grid)
    yield from _comparison(run, before, find)
    yield "### Analysis"
    yield ""
    yield TO_WRITE
    yield ""
    yield f"<!-- auricle run: {run.id} -->"


def _configuration(run: Run) -> Iterator[str]:
    auricle, corpus = run.info["environment"]["auricle"], run.info["corpus"]
    commit = (auricle["commit"] or "unknown")[:9] + (" with changes" if auricle["dirty"] else "")
    yield f"**Configuration.** Auricle {auricle['version']}, commit {commit}; {machine(run.info['environment'])};"
    yield f"corpus {corpus['name']} ({corpus['utterances']} utterances, hash {corpus['hash'][:12]}); run `{run.id}`."


def _tables(run: Run, summary: dict[str, Any]) -> Iterator[Grid]:
    if run.info["kind"] == "live":
        for arm in summary["arms"]:
            own = levels_of(summary, arm["name"])
            yield grid_of(arm["name"], live_lines.CURVE, map(live_lines.curve_row, own))
            yield grid_of("Server", live_lines.SERVER, map(live_lines.server_row, own))
        return
    few = all(arm["files"] is not None and len(arm["files"]) <= MOST_FILES for arm in summary["arms"])
    yield from offline_tables.grids(run, summary, per_file=few)


def _comparison(run: Run, before: str | None, find: Callable[[str], Run]) -> Iterator[str]:
    if before is None:
        return
    yield f"### Against the entry before, `{before}`"
    yield ""
    try:
        other = find(before)
        arms = [arm for arm in arms_of(run.events()) if arm in arms_of(other.events())]
        if not arms:
            raise UsageError("the two runs have no arm in common", f"{before}, {run.id}")  # noqa: TRY301
        for arm in arms:
            sides = [open_side([(one, arm)], f"{one.id}@{arm}") for one in (other, run)]
            found = compare_sides(sides, Smallest(), other.info["settings"]["normaliser"])[0]
            yield f"{arm}: {headline(found)}."
            yield ""
            yield from markdown(rates_grid(found.errors))
            yield from markdown(times_grid(found.timings))
            yield from (f"- {line.strip()}" for line in shown(differences(*sides)))
            yield from (f"- {line}" for line in notes(found))
            yield ""
    except UsageError as error:
        yield f"Not compared: {error}."
        yield ""


@dataclass(frozen=True, slots=True)
class Past:
    """The value of a metric in one run and arm; `spread` is least and most of its values, or the interval."""

    run: str
    started: str
    commit: str | None
    arm: str
    value: float
    spread: tuple[float, float] | None


def history(runs: Sequence[Run], metric: str) -> list[Past]:
    """Return a metric over runs and arms, the oldest first: error rates in per cent, times as `compare` names them.

    Raises UsageError, naming what is known, where no run has it.
    """
    found: list[Past] = []
    known: dict[str, None] = {}
    for run in sorted(runs, key=lambda one: str(one.info["started"])):
        for arm in arms_of(run.events()):
            side = open_side([(run, arm)], run.id)
            measure([side], run.info["settings"]["normaliser"])
            known |= dict.fromkeys((*side.errors, *side.times))
            value, spread = _value(side, metric)
            if value is not None:
                commit = run.info["environment"]["auricle"]["commit"]
                found.append(Past(run.id, run.info["started"], commit, arm, value, spread))
    if not found:
        told = ", ".join(known) or "no run is there"
        raise UsageError("no run has this metric", metric, f"known are {told}")
    return found


def _value(side: Side, metric: str) -> tuple[float | None, tuple[float, float] | None]:
    if metric in side.errors:
        heard = side.heard(metric).values()
        words = sum(one.length for one in heard)
        return (PERCENT * sum(one.errors for one in heard) / words if words else None), None
    if metric in side.times:
        values = sorted(side.values(metric)[0])
        return median(values), (values[0], values[-1])
    return None, None


def history_grid(found: Sequence[Past], metric: str) -> Grid:
    """Return the table of a metric's history, with a bar of its height in each row."""
    low, high = min(one.value for one in found), max(one.value for one in found)

    def spark(value: float) -> str:
        return SPARKS[round((value - low) / (high - low) * (len(SPARKS) - 1))] if high > low else SPARKS[0]

    rows = tuple(
        (
            one.run,
            one.arm,
            (one.commit or "-")[:9],
            f"{one.value:.4g}",
            "-" if one.spread is None else f"{one.spread[0]:.4g} to {one.spread[1]:.4g}",
            spark(one.value),
        )
        for one in found
    )
    unit = "%" if metric.partition("@")[0] in {"wer", "cer"} else "s, of live runs ms, of memory MB"
    columns = ("run", "arm", "commit", metric, "least to most", "")
    return Grid(f"History of {metric} ({unit})", columns, (metric, "least to most"), rows)
