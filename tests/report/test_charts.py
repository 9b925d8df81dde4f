from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import pytest

from auricle.report.charts import HEIGHT, WIDTH, Axis, Bar, Series, bar_chart, column_chart, figure, line_chart


def numbers(svg: str, *names: str) -> list[float]:
    return [float(value) for name in names for value in re.findall(rf' {name}="(-?[\d.]+)"', svg)]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "points",
    [
        ((1.0, 5.0), (1000.0, 5.0)),
        ((1.0, 0.001), (2.0, 100_000.0)),
        ((3.0, 7.0),),
        ((0.0, 0.0), (0.0, 0.0)),
        ((0.5, -3.0), (0.6, 12.0)),
        (),
    ],
)
def test_any_points_give_a_drawing_inside_its_box(points: tuple[tuple[float, float], ...], log: bool) -> None:
    svg = line_chart("t", (Series("a", points, markers=True),), Axis("x", log=log), Axis("y", log=log))
    ET.fromstring(svg)  # noqa: S314  of our own making
    assert all(-20 <= x <= WIDTH for x in numbers(svg, "x", "x1", "x2", "cx"))
    assert all(-20 <= y <= HEIGHT for y in numbers(svg, "y", "y1", "y2", "cy"))
    assert "nan" not in svg


def test_a_point_lies_where_its_axis_says() -> None:
    svg = line_chart("t", (Series("", ((0.0, 0.0), (10.0, 100.0))),), Axis("x"), Axis("y"))
    path = re.findall(r'd="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', svg)[0]
    ticks = dict(re.findall(r'y="([\d.]+)" text-anchor="end">([\d,]+)<', svg))
    heights = {label: float(y) - 4 for y, label in ticks.items()}
    assert float(path[1]) == pytest.approx(heights["0"], abs=0.2)
    assert float(path[3]) == pytest.approx(heights["100"], abs=0.2)


def test_names_and_titles_cannot_be_markup() -> None:
    hostile = '<b>&"'
    for svg in (
        line_chart(hostile, (Series(hostile, ((1.0, 1.0),)),), Axis(hostile), Axis(hostile)),
        bar_chart(hostile, (Bar(hostile, ((hostile, 1.0),)),), "ms"),
        column_chart(hostile, (hostile,), ((1,),), (0.0, 1.0), Axis("x"), Axis("y")),
    ):
        ET.fromstring(svg)  # noqa: S314


def test_series_differ_by_more_than_colour() -> None:
    series = [Series(f"s{n}", ((1.0, n), (2.0, n)), markers=True) for n in range(8)]
    svg = line_chart("t", series, Axis("x"), Axis("y"))
    markers = {
        re.sub(r'[\d.-]+|f\d|transform="[^"]*"', "", mark)
        for mark in re.findall(r"<(?:circle|rect|path class=\"[fs5]).*?>", svg)
    }
    assert len(markers) >= 4
    assert all(f'class="l s{n}"' in svg for n in range(8))


def test_bars_are_as_long_as_their_values() -> None:
    svg = bar_chart("t", (Bar("a", (("x", 10.0), ("y", 30.0))),), "ms")
    widths = [
        float(width) for width in re.findall(r'<rect class="f\d" x="[\d.]+" y="\d+" width="([\d.]+)" height="14"', svg)
    ]
    assert widths[1] == pytest.approx(3 * widths[0], rel=0.02)


def test_numbers_are_short() -> None:
    assert [figure(value) for value in (0.0, 0.25, 12.3456, 1234.5, math.pi)] == [
        "0",
        "0.25",
        "12.35",
        "1,234",
        "3.142",
    ]
