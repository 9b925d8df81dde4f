"""What the commands share: JSON on stdout, talk and progress on stderr."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

    from auricle.audio import PcmFormat
    from auricle.report.tables import Grid

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line, instead of text.")]
PIPE_WIDTH = 200
PCM_NUMBERS = (1, 2)
BYTES_PER_MB = 1_000_000


def say(message: str) -> None:
    """Tell the person something that is not data."""
    print(message, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print one line of JSON on stdout."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str), flush=True)


def print_table(table: Table) -> None:
    """Print a table on stdout, in colour on a terminal, wide enough for its rows in a pipe."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False).print(table)


def make_table(*columns: str, right: tuple[str, ...] = (), title: str | None = None) -> Table:
    """Return an empty table without vertical rules; the columns in `right` are aligned right."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title, title_justify="left", pad_edge=False, show_edge=False
    )
    for number, column in enumerate(columns):
        figures = column in right
        table.add_column(
            column,
            justify="right" if figures else "left",
            no_wrap=figures,
            overflow="fold",
            min_width=12 if number == 0 else None,
        )
    return table


def print_grid(grid: Grid, *, as_markdown: bool) -> None:
    """Print a table on stdout, after an empty line, or as Markdown."""
    from auricle.report.tables import markdown

    if as_markdown:
        print("\n".join(markdown(grid)))
        return
    table = make_table(*grid.columns, right=grid.right, title=grid.title)
    for row in grid.rows:
        table.add_row(*row)
    print()
    print_table(table)


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[float, float | None, str], None]]:
    """Give a function (done, total, what goes on) that shows a bar with the time left on a terminal's stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=0)

        def show(done: float, total: float | None, doing: str) -> None:
            progress.update(task, completed=done, total=total if total is not None else done, description=doing)

        yield show


def megabytes(count: int | None) -> str:
    """Write bytes as MB, unknown as a dash."""
    return "-" if count is None else f"{count / BYTES_PER_MB:,.1f}"


def dash(value: object) -> str:
    """Write unknown (None, empty) as a dash."""
    return "-" if value in (None, "", (), []) else str(value)


def pcm_format(text: str) -> PcmFormat:
    """Read ENCODING:RATE[:CHANNELS]; raises UsageError."""
    from auricle.audio import PcmFormat
    from auricle.audio.types import Encoding
    from auricle.errors import UsageError

    name, *numbers = text.split(":")
    encoding = next((known for known in get_args(Encoding) if known == name), None)
    if encoding is None or len(numbers) not in PCM_NUMBERS or not all(n.isdecimal() and int(n) for n in numbers):
        known = ", ".join(get_args(Encoding))
        raise UsageError("not a raw format", text, f"write ENCODING:RATE[:CHANNELS], ENCODING one of {known}")
    return PcmFormat(encoding, *map(int, numbers))
