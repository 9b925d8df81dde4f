"""`auricle report`: runs as one HTML file, or as Markdown."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.console import say
from auricle.cli.runs import DEFAULT_ROOT, RunsRoot

BYTES_PER_MB = 1_000_000


class Form(StrEnum):
    """What a report is written as."""

    HTML = "html"
    MD = "md"


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN...]", help="Runs, the first of which the others are compared with; or the newest."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File; otherwise report.html in the run's folder.")
    ] = None,
    form: Annotated[
        Form | None, typer.Option("--format", "-f", help="html or md; otherwise by the file's name.")
    ] = None,
    root: RunsRoot = DEFAULT_ROOT,
) -> int:
    """Write runs up in one file that holds its pictures and data; every number is computed from the raw events."""
    from auricle.files import write_text
    from auricle.report.document import document
    from auricle.report.page import to_html, to_markdown
    from auricle.report.reading import newest, open_run

    opened = [open_run(name, root, say) for name in runs] if runs else [newest(root, say)]
    if form is None:
        form = Form.MD if output is not None and output.suffix == ".md" else Form.HTML
    path = opened[0].path / f"report.{form}" if output is None else output
    found = document(opened)
    text = to_markdown(found) if form is Form.MD else to_html(found)
    write_text(path, text)
    for one in found.verdicts:
        say(one)
    print(path)
    say(f"{len(text.encode()) / BYTES_PER_MB:.2f} MB")
    return 0
