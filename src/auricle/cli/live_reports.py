"""`auricle bench live` and `auricle runs show`: a live run printed, computed anew from its raw events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.cli.console import print_json, say
from auricle.report.live_lines import lines, markdown_table, table

if TYPE_CHECKING:
    from auricle.bench.records import Run


def print_live(run: Run, *, markdown: bool, as_json: bool) -> int:
    """Print a run and return the exit status: 1 when it is void or nothing was measured."""
    from auricle.bench.live.summary import summarise

    summary = summarise(run.events(), run.info["settings"])
    for note in run.notes:
        say(f"note: {note}")
    if as_json:
        print_json({**run.info, **summary})
    else:
        for line in lines(run, summary, markdown_table if markdown else table):
            print(line)
    measured = any(level["streams"]["complete"] for level in summary["levels"] if level["speed"] is not None)
    return 1 if summary["certificate"]["void"] or not measured else 0
