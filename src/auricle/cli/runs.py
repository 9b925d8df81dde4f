"""`auricle runs`: the history of measurements."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.console import AsJson, dash, make_table, print_json, print_table, say

runs_app = typer.Typer(help="Recorded runs: list, show, export.", no_args_is_help=True, rich_markup_mode=None)
RunsRoot = Annotated[Path, typer.Option("--runs-folder", envvar="AURICLE_RUNS", help="Where runs are recorded.")]
DEFAULT_ROOT = Path("runs")


@runs_app.command("list")
def list_runs(
    kind: Annotated[str | None, typer.Option(help="Only runs of this kind, such as offline.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many, the newest.")] = None,
    root: RunsRoot = DEFAULT_ROOT,
    as_json: AsJson = False,
) -> int:
    """Show recorded runs, the newest first."""
    from auricle.bench.index import RunIndex

    rows = RunIndex(root, say).list(kind, limit)
    if as_json:
        for row in rows:
            print_json(asdict(row))
        return 0
    table = make_table("run", "status", "corpus", "arms", "figures", "commit")
    for row in rows:
        figures = ", ".join(f"{name} {value}" for name, value in row.headline.items())
        table.add_row(
            row.id, row.status, dash(row.corpus), ", ".join(row.arms), figures, dash((row.git_commit or "")[:9])
        )
    print_table(table)
    return 0


@runs_app.command("show")
def show_run(
    run: Annotated[str, typer.Argument(help="Name of the run, or as much of its start as is unique.")],
    root: RunsRoot = DEFAULT_ROOT,
    per_file: Annotated[bool, typer.Option("--per-file", help="A row for each utterance.")] = False,
    alignment: Annotated[
        bool, typer.Option("--alignment", help="Reference and text of each utterance with errors.")
    ] = False,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder into which the pictures of a profile are drawn anew.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show a run, every figure computed anew from its raw events."""
    from auricle.bench.index import RunIndex
    from auricle.cli.live_reports import print_live
    from auricle.cli.profile_reports import print_profile
    from auricle.cli.reports import print_run
    from auricle.errors import UsageError

    recorded = RunIndex(root, say).get(run)
    kind = recorded.info["kind"]
    if pictures is not None and kind != "profile":
        raise UsageError(f"pictures are of a profile, and this run is {kind}", recorded.id, "leave --pictures out")
    if kind == "profile":
        if alignment:
            raise UsageError("a profile has no error rates", recorded.id, "measure them with `auricle bench offline`")
        return print_profile(recorded, pictures, markdown=markdown, as_json=as_json, per_file=per_file)
    if kind == "live":
        if per_file or alignment:
            raise UsageError("a live run is not shown by file", recorded.id, "export it as csv: a row for each stream")
        return print_live(recorded, markdown=markdown, as_json=as_json)
    print_run(recorded, per_file=per_file, alignment=alignment, markdown=markdown, as_json=as_json)
    return 0


@runs_app.command("export")
def export_run(
    run: Annotated[str, typer.Argument(help="Name of the run, or as much of its start as is unique.")],
    form: Annotated[str, typer.Option("--format", "-f", help="json (everything), jsonl (events) or csv.")] = "json",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; otherwise stdout.")] = None,
    root: RunsRoot = DEFAULT_ROOT,
) -> int:
    """Write a run with all its raw events."""
    from auricle.bench.export import export
    from auricle.bench.index import RunIndex
    from auricle.files import atomic_path

    recorded = RunIndex(root, say).get(run)
    if output is None:
        export(recorded, form, sys.stdout)
        return 0
    with atomic_path(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        export(recorded, form, file)
    return 0
