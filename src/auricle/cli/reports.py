"""How a run is shown: computed anew from its raw events, as tables for a terminal or as Markdown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from auricle.cli.console import PIPE_WIDTH, print_grid, print_json, say
from auricle.report.offline_tables import grids, head, warnings

if TYPE_CHECKING:
    from auricle.bench.records import Run


def print_run(run: Run, *, per_file: bool, alignment: bool, markdown: bool, as_json: bool) -> dict[str, Any]:
    """Print a run and return its summary."""
    from auricle.bench.summary import summarise

    summary = summarise(run.events(), run.info["settings"])
    for note in run.notes:
        say(f"note: {note}")
    if as_json:
        shown = summary if per_file else {"arms": [arm | {"files": None} for arm in summary["arms"]]}
        print_json({**run.info, "summary": shown})
        return summary
    for line in head(run):
        print(f"{line}\n" if markdown else line)
    for grid in grids(run, summary, per_file=per_file):
        print_grid(grid, as_markdown=markdown)
    for line in warnings(summary):
        say(f"warning: {line}")
    if alignment:
        _print_alignments(run)
    return summary


def _print_alignments(run: Run) -> None:
    from rich.console import Console

    from auricle.bench.summary import aligned
    from auricle.score.align import render

    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for arm, utterance, alignment in aligned(run.events(), run.info["settings"]):
        console.print(f"\n{arm} {utterance}", style="bold")
        console.print(render(alignment, console.width))
