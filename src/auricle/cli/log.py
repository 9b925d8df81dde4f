"""`auricle log`: a repository's benchmark log."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.console import AsJson, print_grid, print_json, say
from auricle.cli.runs import DEFAULT_ROOT, RunsRoot

log_app = typer.Typer(help="A benchmark log in Markdown, and histories.", no_args_is_help=True, rich_markup_mode=None)
DEFAULT_LOG = Path("BENCHMARKS.md")


@log_app.command("add")
def add_entry(
    note: Annotated[str, typer.Option(help="What was changed: the title, and after a line end the rest.")],
    run: Annotated[str | None, typer.Argument(help="Its run; otherwise the newest that finished.")] = None,
    log: Annotated[Path, typer.Option(help="The log, made when it is not there.")] = DEFAULT_LOG,
    root: RunsRoot = DEFAULT_ROOT,
) -> int:
    """Append an entry: change, configuration, tables, and the comparison with the entry before."""
    from auricle.report.log import add
    from auricle.report.reading import newest, open_run

    found = newest(root, say) if run is None else open_run(run, root, say)
    print(add(log, found, note, lambda name: open_run(name, root, say)), end="")
    say(f"appended to {log}; its analysis is yours to write")
    return 0


@log_app.command("history")
def show_history(
    metric: Annotated[str, typer.Argument(help="Such as wer, total, stage:encoder, final@8.")],
    kind: Annotated[str | None, typer.Option(help="Only runs of this kind: offline or live.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Only runs on this corpus.")] = None,
    root: RunsRoot = DEFAULT_ROOT,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show a metric over all runs that have it, the oldest first."""
    from auricle.bench.index import RunIndex
    from auricle.errors import AuricleError
    from auricle.report.log import history, history_grid
    from auricle.report.reading import EVENTS, events_of

    index = RunIndex(root, say)
    runs = []
    for row in index.list(kind, None):
        if row.kind in EVENTS and row.status == "finished" and corpus in {None, row.corpus}:
            run = index.get(row.id)
            try:
                events_of(run)
            except AuricleError as error:
                say(f"left out: {error}")
            else:
                runs.append(run)
    found = history(runs, metric)
    if as_json:
        for one in found:
            print_json(asdict(one))
        return 0
    print_grid(history_grid(found, metric), as_markdown=markdown)
    return 0
