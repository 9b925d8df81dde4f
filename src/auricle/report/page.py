"""A report as one HTML file that needs nothing else, and as Markdown."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from auricle.report.tables import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auricle.report.document import Document, Section
    from auricle.report.figures import Figure
    from auricle.report.tables import Grid
    from auricle.score.align import Alignment


def to_html(report: Document) -> str:
    """Return the page; its script element `figures` holds every figure's data and the summaries as JSON."""
    css = resources.files("auricle.report").joinpath("page.css").read_text(encoding="utf-8")
    data = {
        "summaries": dict(report.summaries),
        "figures": {
            figure.name: {"columns": figure.columns, "rows": figure.rows}
            for section in report.sections
            for figure in section.figures
        },
    }
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>{html.escape(report.title)}</title><style>{css}</style></head><body>",
        f"<h1>{html.escape(report.title)}</h1>",
        f'<div class="{"verdict void" if any("VOID" in one for one in report.verdicts) else "verdict"}">',
        *(f"<p>{html.escape(one)}</p>" for one in report.verdicts),
        "</div>",
        *(part for section in report.sections for part in _section(section)),
        f'<script type="application/json" id="figures">{_json(data)}</script>',
        "</body></html>\n",
    ]
    return "\n".join(parts)


def to_markdown(report: Document) -> str:
    """Return the report without its drawings, whose data is what the tables and the run folder hold."""
    return "\n".join(_markdown(report)).rstrip() + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"<section><h2>{html.escape(section.title)}</h2>"
    yield from (f"<p>{html.escape(line)}</p>" for line in section.lines)
    if section.figures:
        yield '<div class="figures">'
        for figure in section.figures:
            yield from _figure(figure)
        yield "</div>"
    if section.folded:
        yield "<details><summary>All that is known</summary>"
    for grid in section.grids:
        yield from _table(grid)
    if section.folded:
        yield "</details>"
    for name, alignment in section.alignments:
        yield from _alignment(name, alignment)
    yield "</section>"


def _figure(figure: Figure) -> Iterator[str]:
    name = re.sub(r"[^a-z0-9]+", "-", figure.name.lower()).strip("-")
    yield f'<figure id="{html.escape(name)}"><h3>{html.escape(figure.title)}</h3>'
    yield figure.svg
    link = (
        f'<a class="download" download="{name}.csv" href="data:text/csv;charset=utf-8,{quote(_csv(figure))}">data</a>'
    )
    yield f"<figcaption>{html.escape(figure.caption)} {link}</figcaption></figure>"


def _csv(figure: Figure) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(figure.columns)
    writer.writerows([_rounded(value) for value in row] for row in figure.rows)
    return out.getvalue()


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _table(grid: Grid) -> Iterator[str]:
    yield '<div class="scroll"><table>'
    if grid.title:
        yield f"<caption>{html.escape(grid.title)}</caption>"
    kinds = ['class="n"' if column in grid.right else "" for column in grid.columns]
    heads = "".join(f"<th {kind}>{html.escape(name)}</th>" for name, kind in zip(grid.columns, kinds, strict=True))
    yield f"<thead><tr>{heads}</tr></thead><tbody>"
    for row in grid.rows:
        cells = "".join(f"<td {kind}>{html.escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table></div>"


def _alignment(name: str, alignment: Alignment) -> Iterator[str]:
    counts = alignment.counts
    told = f"{name}: {counts.substitutions} S, {counts.deletions} D, {counts.insertions} I of {counts.reference_length}"
    yield f"<h3>{html.escape(told)}</h3>"
    words = "".join(
        f'<span class="{pair.mark or "ok"}"><b>{html.escape(pair.reference or "·")}</b>'
        f"<i>{html.escape(pair.hypothesis or '·') if pair.mark else '&nbsp;'}</i></span>"
        for pair in alignment.pairs
    )
    yield f'<div class="pairs" aria-label="reference above, what was heard below where it differs">{words}</div>'


def _json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_rounded).replace("<", "\\u003c")


def _markdown(report: Document) -> Iterator[str]:
    yield f"# {report.title}"
    yield ""
    yield from (f"- {one}" for one in report.verdicts)
    for section in report.sections:
        yield ""
        yield f"## {section.title}"
        yield ""
        yield from (f"- {line.strip()}" for line in section.lines)
        yield ""
        for grid in section.grids:
            yield from markdown(grid)
        for name, alignment in section.alignments:
            yield f"**{name}**"
            yield ""
            yield from (
                f"- {pair.mark}: {pair.reference or '·'} / {pair.hypothesis or '·'}"
                for pair in alignment.pairs
                if pair.mark
            )
            yield ""
