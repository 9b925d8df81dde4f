"""What is drawn of a run, each figure with its data, from raw events by the functions that the summaries use."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.report.charts import Axis, Bar, Series, bar_chart, column_chart, line_chart
from auricle.report.live_figures import latency_figures
from auricle.score.timing import observations_needed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Event = dict[str, Any]
MS_PER_S = 1000.0
BYTES_PER_MB = 1_000_000
PERCENT = 100.0
BINS = 24
MOST_POINTS = 200


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with its title, a sentence on how to read it, and the numbers in it as a table."""

    name: str
    title: str
    caption: str
    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def offline_figures(events: Sequence[Event], summary: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield the figures of a file benchmark: stages, their distributions, RTF and memory."""
    arms = summary["arms"]
    batches: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event["event"] == "batch" and event["phase"] == "run":
            batches[event["arm"]].append(event)
    if not arms:
        return
    yield _stage_bars(arms)
    for arm in arms:
        yield _stage_cdf(arm["name"], batches[arm["name"]])
    yield _rtf(arms, batches)
    yield _memory([(arm["name"], arm["memory"]) for arm in arms])


def _stage_bars(arms: Sequence[Mapping[str, Any]]) -> Figure:
    inner = [
        (arm["name"], [(row["stage"], row["median_ms"]) for row in arm["stages"]["rows"] if row["share"] is not None])
        for arm in arms
    ]
    rest = [arm["stages"]["residual_ms"] for arm in arms]
    bars = [
        Bar(name, (*parts, ("in no stage", max(0.0, residual))))
        for (name, parts), residual in zip(inner, rest, strict=True)
    ]
    rows = tuple((bar.name, stage, value) for bar in bars for stage, value in bar.parts)
    title = "Where the time goes"
    caption = "Median time of a pass over the whole corpus, by stage."
    return Figure("stages", title, caption, bar_chart(title, bars, "ms"), ("arm", "stage", "median_ms"), rows)


def cdf(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return the share of values up to each, thinned to `MOST_POINTS`; what never came (infinite) keeps it below 1."""
    ordered = sorted(values)
    upto = {value: (number + 1) / len(ordered) for number, value in enumerate(ordered) if math.isfinite(value)}
    points = list(upto.items())
    if len(points) <= MOST_POINTS:
        return points
    chosen = np.unique(np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int))
    return [points[place] for place in chosen]


def cdf_figure(name: str, title: str, caption: str, found: Mapping[str, Sequence[float]], x: str) -> Figure:
    """Return cumulative distributions of times in ms on a logarithmic axis, a line for each name."""
    lines = {line: cdf([max(value, 0.01) for value in values]) for line, values in found.items()}
    series = [Series(line, ((points[0][0], 0.0), *points), step=True) for line, points in lines.items() if points]
    svg = line_chart(title, series, Axis(x, log=True), Axis("share at or below", low=0.0, high=1.0))
    rows = tuple((line, *point) for line, points in lines.items() for point in points)
    return Figure(name, title, caption, svg, ("line", "ms", "share"), rows)


def _stage_cdf(arm: str, batches: Sequence[Event]) -> Figure:
    stages: dict[str, list[float]] = defaultdict(list)
    for batch in batches:
        for stage, seconds in batch["stages_s"].items():
            stages[stage].append(MS_PER_S * seconds)
    caption = "Time of one call of the engine in each stage, all measured passes; a steep line is a steady stage."
    return cdf_figure(f"stage-cdf-{arm}", f"Latency by component, {arm}", caption, stages, "ms in a call")


def _rtf(arms: Sequence[Mapping[str, Any]], batches: Mapping[str, Sequence[Event]]) -> Figure:
    names = [arm["name"] for arm in arms]
    values = {
        name: [batch["total_s"] / sum(batch["audio_s"]) for batch in batches[name] if sum(batch["audio_s"])]
        for name in names
    }
    everything = [value for own in values.values() for value in own]
    edges = [float(edge) for edge in np.linspace(0, max(everything, default=1.0), BINS + 1)]
    counts = [[int(count) for count in np.histogram(values[name], edges)[0]] for name in names]
    rows = tuple(
        (name, edges[place], edges[place + 1], count)
        for name, own in zip(names, counts, strict=True)
        for place, count in enumerate(own)
    )
    worst = ", ".join(f"{name} {max(own):.3f}" for name, own in values.items() if own)
    caption = f"Processing time over audio time of every call; above 1 is slower than speech. Slowest: {worst}."
    title = "Real-time factor"
    svg = column_chart(title, names, counts, edges, Axis("RTF", low=0.0), Axis("calls", low=0.0))
    return Figure("rtf", title, caption, svg, ("arm", "from", "to", "calls"), rows)


def _memory(found: Sequence[tuple[str, Mapping[str, Any]]]) -> Figure:
    bars, rows = [], []
    for name, memory in found:
        for label, key in (("peak RSS", "peak_rss_bytes"), ("device", "peak_device_bytes")):
            if memory[key] is not None:
                bars.append(Bar(f"{name}: {label}", (("MB", memory[key] / BYTES_PER_MB),)))
                rows.append((name, label, memory[key] / BYTES_PER_MB))
    title = "Memory"
    caption = "Largest resident memory of the processes together, and largest memory in use on a GPU."
    return Figure("memory", title, caption, bar_chart(title, bars, "MB"), ("of", "kind", "mb"), tuple(rows))


def live_figures(
    arm: str, events: Sequence[Event], summary: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[Figure]:
    """Yield the figures of one arm of a live run: quality and latency against load, distributions, drift, memory."""
    levels = [
        level
        for level in summary["levels"]
        if level["arm"] == arm and level["phase"] == "level" and level["speed"] is not None
    ]
    levels.sort(key=lambda level: level["live"])
    if not levels:
        return
    yield _quality(arm, [level for level in levels if level["wer"] is not None])
    yield _latency(arm, levels)
    distributions = latency_figures(events, arm, settings)
    for kind, title, x in (
        ("final", "Final latency", "ms after the last spoken sample"),
        ("ttft", "Time to first token", "ms after the first spoken sample"),
        ("chunk", "Chunk latency", "ms after the packet was due"),
    ):
        found = {f"{live} live": values for live, values in distributions[kind].items() if values}
        if found:
            caption = "Share of observations at or below; a line that ends below 1 holds some that never came."
            yield cdf_figure(f"{kind}-cdf-{arm}", title, caption, found, x)
    for live, parts in distributions["parts"].items():
        if len(next(iter(parts.values()), ())) >= observations_needed(0.5):
            caption = "How the time to first token is made up, by the server's own stamps, a value for each stream."
            title = f"Latency by component at {live} live"
            yield cdf_figure(f"parts-cdf-{arm}-{live}", title, caption, parts, "ms")
    if distributions["over_time"]:
        yield _over_time(arm, levels, distributions["over_time"])
    yield _memory([(f"{level['live']} live", level["server"]) for level in levels])


def _quality(arm: str, levels: Sequence[Mapping[str, Any]]) -> Figure:
    rows = tuple(
        (
            level["live"],
            *(PERCENT * level["wer"][name] for name in ("rate", "low", "high")),
            *(PERCENT * level["cer"][name] for name in ("rate", "low", "high")),
        )
        for level in levels
    )
    wer = Series("WER", tuple((r[0], r[1]) for r in rows), tuple((r[0], r[2], r[3]) for r in rows), markers=True)
    cer = Series("CER", tuple((r[0], r[4]) for r in rows), tuple((r[0], r[5], r[6]) for r in rows), markers=True)
    title = "Quality under load"
    caption = "Error rates over all that was attempted, with 95 % intervals; failed streams count as deleted."
    svg = line_chart(title, (wer, cer), Axis("live streams", log=True), Axis("%", low=0.0))
    columns = ("live", "wer_percent", "wer_low", "wer_high", "cer_percent", "cer_low", "cer_high")
    return Figure(f"quality-{arm}", title, caption, svg, columns, rows)


def _latency(arm: str, levels: Sequence[Mapping[str, Any]]) -> Figure:
    kinds = (("final", "p50_ms"), ("final", "p95_ms"), ("ttft", "p50_ms"), ("chunk", "p95_ms"))
    series, rows = [], []
    for kind, quantile in kinds:
        points = [
            (float(level["live"]), level[kind][quantile])
            for level in levels
            if level[kind] is not None and level[kind][quantile] is not None
        ]
        name = f"{kind} {quantile.removesuffix('_ms')}"
        if points:
            series.append(Series(name, tuple(points), markers=True))
        rows += [(name, *point) for point in points]
    title = "Latency under load"
    caption = "Percentiles that enough independent streams bear; others are left out."
    svg = line_chart(title, series, Axis("live streams", log=True), Axis("ms", log=True))
    return Figure(f"latency-{arm}", title, caption, svg, ("line", "live", "ms"), tuple(rows))


def _over_time(
    arm: str, levels: Sequence[Mapping[str, Any]], found: Mapping[int, Mapping[int, Sequence[float]]]
) -> Figure:
    series, rows = [], []
    for live, seconds in found.items():
        points, band = [], []
        for second, values in sorted(seconds.items()):
            middle = median(values)
            low, high = (float(value) for value in np.quantile(values, [0.1, 0.9], method="inverted_cdf"))
            if all(math.isfinite(value) for value in (middle, low, high)):
                points.append((second + 0.5, middle))
                band.append((second + 0.5, low, high))
                rows.append((live, second, middle, low, high))
        if points:
            series.append(Series(f"{live} live", tuple(points), tuple(band)))
    slopes = [
        f"{level['live']} live {level['drift']['ms_per_s']:+.1f}" for level in levels if level["drift"] is not None
    ]
    title = "Chunk latency over stream time"
    caption = f"Median and 10 to 90 % of each second. Drift in ms a second: {', '.join(slopes)}."
    svg = line_chart(title, series, Axis("seconds since the stream began", low=0.0), Axis("ms", low=0.0))
    columns = ("live", "second", "median_ms", "p10_ms", "p90_ms")
    return Figure(f"over-time-{arm}", title, caption, svg, columns, tuple(rows))
