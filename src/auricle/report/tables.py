"""A table before it is drawn, and its Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Grid:
    """A table before it is drawn: columns in `right` hold figures."""

    title: str
    columns: tuple[str, ...]
    right: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown(grid: Grid) -> Iterator[str]:
    """Yield the lines of a table in Markdown, its title in bold above it."""
    if grid.title:
        yield f"**{grid.title}**"
        yield ""
    yield f"| {' | '.join(grid.columns)} |"
    yield "|" + "|".join("---:" if column in grid.right else "---" for column in grid.columns) + "|"
    for row in grid.rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""
