"""Charts as SVG that a page styles: colours are CSS classes `s0` to `s7`, so that one drawing serves light and dark.

Series differ by colour, dash and marker, none of which has to be told from another by hue alone. Coordinates are in
units of the view box, 480 wide, so that text stays legible on a phone.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 14, 44
LEGEND_LINE = 18
CHARACTER = 6.6  # of a label, about
SERIES = 8
TICKS = 5
SAMPLE_WIDTH = 26
ROW = 34
BAR = 18
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its points, and low and high of a band around it at each x. `step` holds a value until the next x."""

    name: str
    points: tuple[Point, ...]
    band: tuple[tuple[float, float, float], ...] = ()
    step: bool = False
    markers: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: its label with unit, and whether it is logarithmic; `low` and `high` widen what the data span."""

    label: str
    log: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A horizontal bar of parts, each a name and a value."""

    name: str
    parts: tuple[tuple[str, float], ...]


class _Scale:
    """From values to coordinates, with round ticks."""

    def __init__(self, values: Sequence[float], axis: Axis, start: float, end: float) -> None:
        known = [value for value in (*values, axis.low, axis.high) if value is not None and math.isfinite(value)]
        self.log = axis.log and bool(known) and min(known) > 0
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        if self.log:
            self.ticks = _log_ticks(low, high)
        else:
            self.ticks = _ticks(low if axis.low is None else axis.low, high)
        self._low, self._high = self._of(min(low, self.ticks[0])), self._of(max(high, self.ticks[-1]))
        self._start, self._end = start, end

    def _of(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def __call__(self, value: float) -> float:
        span = (self._high - self._low) or 1.0
        return round(self._start + (self._of(value) - self._low) / span * (self._end - self._start), 1)


def _ticks(low: float, high: float) -> list[float]:
    span = (high - low) or abs(high) or 1.0
    raw = span / TICKS
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * nice for nice in (1, 2, 2.5, 5, 10) if size * nice >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    many = last - first <= 2  # noqa: PLR2004  decades
    found = [base * 10.0**power for power in range(first, last + 1) for base in ((1, 2, 5) if many else (1,))]
    start = max((tick for tick in found if tick <= low * (1 + 1e-9)), default=found[0])
    end = min((tick for tick in found if tick >= high * (1 - 1e-9)), default=found[-1])
    kept = [tick for tick in found if start <= tick <= end]
    return kept if len(kept) > 1 else [start, start * 10]


def figure(value: float) -> str:
    """Write a number for an axis or a table of data."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004


def line_chart(title: str, series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Return lines, or steps, with bands; the title is for those who hear the page."""
    points = [point for one in series for point in one.points]
    bands = [value for one in series for _, low, high in one.band for value in (low, high)]
    legend, top = _legend([one.name for one in series])
    across = _Scale([value for value, _ in points], x, LEFT, WIDTH - RIGHT)
    up = _Scale([value for _, value in points] + bands, y, HEIGHT - BOTTOM, top)
    parts = [*_axes(across, up, x, y, top), *legend]
    for number, one in enumerate(series):
        parts += _line(one, number % SERIES, across, up)
    return _svg(title, parts, HEIGHT)


def column_chart(title: str, names: Sequence[str], counts: Sequence[Sequence[float]], edges: Sequence[float],
                 x: Axis, y: Axis) -> str:  # fmt: skip
    """Return a histogram: for each series a count for each of the intervals between `edges`."""
    legend, top = _legend(names)
    across = _Scale(edges, x, LEFT, WIDTH - RIGHT)
    up = _Scale([0.0, *(value for one in counts for value in one)], y, HEIGHT - BOTTOM, top)
    parts = [*_axes(across, up, x, y, top), *legend]
    for number, one in enumerate(counts):
        for place, count in enumerate(one):
            if count:
                left, right = across(edges[place]), across(edges[place + 1])
                wide = max(1.0, (right - left - 1) / len(counts))
                at = left + number * wide
                parts.append(
                    f'<rect class="f{number % SERIES}" x="{at:.1f}" y="{up(count)}" width="{wide:.1f}" '
                    f'height="{up(0) - up(count):.1f}"><title>{html.escape(names[number])}, {figure(edges[place])} to '
                    f"{figure(edges[place + 1])}: {figure(count)}</title></rect>"
                )
    return _svg(title, parts, HEIGHT)


def bar_chart(title: str, bars: Sequence[Bar], unit: str) -> str:
    """Return horizontal bars of parts, one below the other, each under its name, with the sum at its end."""
    names = list(dict.fromkeys(name for bar in bars for name, _ in bar.parts))
    legend, top = _legend(names) if len(names) > 1 else ([], TOP)
    most = max((sum(value for _, value in bar.parts) for bar in bars), default=1.0)
    across = _Scale([0.0, most], Axis("", low=0.0), 8, WIDTH - 90)
    parts, at = list(legend), float(top)
    for bar in bars:
        parts.append(f'<text class="t" x="8" y="{at + 11:.0f}">{html.escape(bar.name)}</text>')
        reached = 0.0
        for name, value in bar.parts:
            left, right = across(reached), across(reached + value)
            parts.append(
                f'<rect class="f{names.index(name) % SERIES}" x="{left}" y="{at + 16:.0f}" '
                f'width="{max(0.0, right - left):.1f}" height="{BAR - 4}"><title>{html.escape(name)}: '
                f"{figure(value)} {html.escape(unit)}</title></rect>"
            )
            reached += value
        parts.append(f'<text class="t" x="{across(reached) + 6}" y="{at + 28:.0f}">{figure(reached)} {unit}</text>')
        at += ROW + 8
    return _svg(title, parts, int(at + 6))


def _svg(title: str, parts: Sequence[str], height: int) -> str:
    told = html.escape(title)
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{told}" xmlns="http://www.w3.org/2000/svg">'
    return "\n".join((head, f"<title>{told}</title>", *parts, "</svg>"))


def _legend(names: Sequence[str]) -> tuple[list[str], int]:
    """Return the legend above a chart, in as many lines as it needs, and where the chart begins below it."""
    if len(names) < 2 and not (names and names[0]):  # noqa: PLR2004
        return [], TOP
    parts, at, line = [], float(LEFT), 0
    for number, name in enumerate(names):
        wide = SAMPLE_WIDTH + 8 + CHARACTER * len(name) + 12
        if at > LEFT and at + wide > WIDTH - RIGHT:
            at, line = float(LEFT), line + 1
        y = TOP + line * LEGEND_LINE
        kind = number % SERIES
        parts.append(f'<line class="l s{kind}" x1="{at:.0f}" y1="{y}" x2="{at + SAMPLE_WIDTH:.0f}" y2="{y}"/>')
        parts.append(_marker(kind, at + SAMPLE_WIDTH / 2, y))
        parts.append(f'<text class="t" x="{at + SAMPLE_WIDTH + 6:.0f}" y="{y + 4}">{html.escape(name)}</text>')
        at += wide
    return parts, TOP + (line + 1) * LEGEND_LINE


def _axes(across: _Scale, up: _Scale, x: Axis, y: Axis, top: int) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    for tick in up.ticks:
        yield f'<line class="g" x1="{LEFT}" y1="{up(tick)}" x2="{WIDTH - RIGHT}" y2="{up(tick)}"/>'
        yield f'<text class="t" x="{LEFT - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{figure(tick)}</text>'
    for tick in across.ticks:
        yield f'<line class="a" x1="{across(tick)}" y1="{bottom}" x2="{across(tick)}" y2="{bottom + 4}"/>'
        yield f'<text class="t" x="{across(tick)}" y="{bottom + 17}" text-anchor="middle">{figure(tick)}</text>'
    yield f'<line class="a" x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text class="t" x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(x.label)}</text>'
    at = (top + bottom) / 2
    yield (
        f'<text class="t" transform="translate(12 {at:.0f}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(y.label)}</text>"
    )


def _line(one: Series, kind: int, across: _Scale, up: _Scale) -> Iterator[str]:
    if one.band:
        over = [f"{across(x)},{up(high)}" for x, _, high in one.band]
        under = [f"{across(x)},{up(low)}" for x, low, _ in reversed(one.band)]
        yield f'<polygon class="b{kind}" points="{" ".join(over + under)}"/>'
    path = []
    for number, (x, y) in enumerate(one.points):
        if number == 0:
            path.append(f"M{across(x)} {up(y)}")
        else:
            path.append(f"H{across(x)}V{up(y)}" if one.step else f"L{across(x)} {up(y)}")
    yield f'<path class="l s{kind}" d="{"".join(path)}"><title>{html.escape(one.name)}</title></path>'
    if one.markers:
        for x, y in one.points:
            told = f"<title>{html.escape(one.name)}: {figure(x)}, {figure(y)}</title>"
            yield _marker(kind, across(x), up(y), told)


def _marker(kind: int, x: float, y: float, told: str = "") -> str:
    """Return the mark of a series: a disc, a square, a triangle, a diamond, a ring, a cross, two pointing down."""
    if kind == 0:
        return f'<circle class="f0" cx="{x:.1f}" cy="{y:.1f}" r="3.5">{told}</circle>'
    if kind == 1:
        return f'<rect class="f1" x="{x - 3.2:.1f}" y="{y - 3.2:.1f}" width="6.4" height="6.4">{told}</rect>'
    if kind == 4:  # noqa: PLR2004
        return f'<circle class="r4" cx="{x:.1f}" cy="{y:.1f}" r="3.2">{told}</circle>'
    shapes = {
        2: "M0 -4L4 3H-4Z",
        3: "M0 -4.2L4.2 0L0 4.2L-4.2 0Z",
        5: "M-3 -3L3 3M-3 3L3 -3",
        6: "M0 4L4 -3H-4Z",
        7: "M-4 -1.5H4L0 1.5Z",
    }
    style = "s5 l" if kind == 5 else f"f{kind}"  # noqa: PLR2004
    return f'<path class="{style}" transform="translate({x:.1f} {y:.1f})" d="{shapes[kind]}">{told}</path>'
