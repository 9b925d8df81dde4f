"""The pictures of a profile, each an SVG with the figures that it shows beside it as CSV.

    components  distribution of the latency of steps by component
    ttft        compute-TTFT of the utterances
    rtf         RTF of the utterances, with and without the padding of the last chunk
    chunks      latency of chunks over stream time

Readable on light and dark pages (the SVG follows what the reader prefers), in grey, and by those who do not tell red
from green: colours are those of Okabe and Ito, lines differ in their dashes too.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

from auricle.bench.live.latencies import MS_PER_S, NEVER
from auricle.bench.profile.components import REST, WHOLE, cumulative, durations, read
from auricle.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from auricle.bench.records import Run

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
SIZE_IN = (6.4, 3.8)
POINTS = 150
SHOWN_STREAMS = 25
FEWEST_BINS, MOST_BINS = 5, 20
MOST_DECADES = 1.2
"""A distribution over more decades than this is drawn on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Look:
    """The colours of paper and ink."""

    paper: str
    ink: str
    faint: str


LIGHT = Look("#fefefe", "#1f2329", "#8b929a")
DARK = Look("#14181d", "#e5e9ee", "#8b929b")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture before it is drawn: its figures, and what puts them on axes."""

    name: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    draw: Callable[[Axes, Look], None]


def draw_pictures(
    run: Run, summary: Mapping[str, Any], folder: Path, form: str = "svg", look: Look = LIGHT
) -> list[Path]:
    """Write the pictures of a profile's `components` summary into a folder, and their figures; return the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for picture in _pictures(run, summary):
        path = folder / f"{picture.name}.{form}"
        _draw(picture, path, look)
        write_text(folder / f"{picture.name}.csv", _csv(picture))
        paths.append(path)
    return paths


def _pictures(run: Run, summary: Mapping[str, Any]) -> Iterator[Picture]:
    unit = "step" if summary["live"] else "file"
    yield _components(durations(run.events()), unit)
    yield _ttft(run, summary)
    yield _rtf(summary)
    if summary["chunks"] is not None:
        yield _chunks(run, summary)


def _components(found: Mapping[str, Sequence[float]], unit: str) -> Picture:
    curves = {name: cumulative(values, POINTS) for name, values in found.items()}
    rows = [(name, value, share) for name, points in curves.items() for value, share in points]

    def draw(axes: Axes, look: Look) -> None:
        named = [name for name in curves if name not in {REST, WHOLE}]
        for number, name in enumerate(named):
            _cumulative(axes, curves[name], name, COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)])
        _cumulative(axes, curves.get(REST, []), REST, look.faint, (0, (1, 1)))
        _cumulative(axes, curves[WHOLE], f"whole {unit}", look.ink, "-")
        _logarithmic(axes, [value for name, value, _ in rows if name != REST])
        axes.set(xlabel=f"time in one {unit} (ms)", ylabel=f"share of {unit}s that took no longer", ylim=(0, 1.02))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return Picture("components", ("component", "ms", "share"), rows, draw)


def _ttft(run: Run, summary: Mapping[str, Any]) -> Picture:
    _, plays, _ = read(run.events())
    rows = [(play.name, play.played["run"], *play.first_words()) for play in plays]
    told = [(name, number, spent_s * MS_PER_S, heard_s) for name, number, spent_s, heard_s in rows if spent_s != NEVER]
    silent = len(rows) - len(told)

    def draw(axes: Axes, look: Look) -> None:
        values = [spent_ms for _, _, spent_ms, _ in told]
        axes.hist(values, bins=_bins(values), color=COLOURS[0], edgecolor=look.paper)
        middle = summary["ttft"]["p50_ms"]
        if middle is not None:
            axes.axvline(middle, color=COLOURS[1], linewidth=1.8, linestyle="--", label=f"median {middle:.1f} ms")
            axes.legend(loc="best")
        _whole_numbers(axes)
        note = f"; {silent} never had words" if silent else ""
        axes.set(xlabel="compute-TTFT of an unpaced loop (ms)", ylabel=f"plays of utterances{note}")

    return Picture("ttft", ("utterance", "run", "compute_ttft_ms", "audio_heard_s"), told, draw)


def _rtf(summary: Mapping[str, Any]) -> Picture:
    rows = [(row["id"], row["audio_s"], row["rtf"], row["rtf_padded"]) for row in summary["rows"] if row["rtf"]]

    def draw(axes: Axes, look: Look) -> None:
        plain = [rtf for _, _, rtf, _ in rows]
        padded = [rtf for *_, rtf in rows if rtf is not None]
        span = (min(plain + padded), max(plain + padded)) if plain else (0.0, 1.0)
        bins = _bins(plain)
        axes.hist(plain, bins=bins, range=span, color=COLOURS[0], edgecolor=look.paper, label="over the audio alone")
        if padded:
            axes.hist(
                padded, bins=bins, range=span, histtype="step", color=COLOURS[1], linewidth=1.8, linestyle="--",
                label="over audio in whole chunks",
            )  # fmt: skip
        if span[1] > 0.5:  # noqa: PLR2004  the limit is near enough to be shown
            axes.axvline(1.0, color=look.ink, linewidth=1.2, label="real time")
        over = summary["rtf"]["over_1"]
        axes.set(xlabel="RTF of an utterance, median of its passes", ylabel="utterances")
        axes.set_title(f"{over} of {len(rows)} above 1", loc="left")
        axes.legend(loc="best")
        _whole_numbers(axes)

    return Picture("rtf", ("utterance", "audio_s", "rtf", "rtf_padded"), rows, draw)


def _chunks(run: Run, summary: Mapping[str, Any]) -> Picture:
    _, plays, _ = read(run.events())
    curve, drift = summary["chunks"]["curve"], summary["chunks"]["drift"]
    enough = max((one["n"] for one in curve), default=0) / 2
    firm = [one for one in curve if one["n"] >= enough]
    rows = [(one["chunk"], one["at_s"], one["n"], one["p10_ms"], one["p50_ms"], one["p90_ms"]) for one in curve]

    def draw(axes: Axes, look: Look) -> None:
        for play in plays[:SHOWN_STREAMS]:
            axes.plot(*play.line(), color=look.faint, linewidth=0.5, alpha=0.5)
        at_s = [one["at_s"] for one in firm]
        bottom, top = ([one[key] for one in firm] for key in ("p10_ms", "p90_ms"))
        axes.fill_between(at_s, bottom, top, color=COLOURS[0], alpha=0.25, linewidth=0, label="10 to 90 % of streams")
        axes.plot(at_s, [one["p50_ms"] for one in firm], color=COLOURS[0], linewidth=2, label="median")
        if firm:
            axes.plot(at_s[:1], [firm[0]["p50_ms"]], "o", color=COLOURS[1], label="first chunk")
        axes.set(xlabel="stream time at the end of the chunk (s)", ylabel="latency of the chunk (ms)")
        axes.set_title(_drift(drift), loc="left")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    header = ("chunk", "stream_time_s", "streams", "p10_ms", "p50_ms", "p90_ms")
    return Picture("chunks", header, rows, draw)


def _drift(drift: Mapping[str, Any] | None) -> str:
    if drift is None:
        return ""
    interval = "" if drift["low"] is None else f" (95 %: {drift['low']:+.3f} to {drift['high']:+.3f})"
    return f"drift {drift['ms_per_s']:+.3f} ms per second of the stream{interval}"


def _cumulative(axes: Axes, points: Sequence[tuple[float, float]], name: str, colour: str, dashes: Any) -> None:
    axes.plot(
        [value for value, _ in points],
        [share for _, share in points],
        drawstyle="steps-post",
        color=colour,
        linestyle=dashes,
        label=name,
    )


def _logarithmic(axes: Axes, values: Sequence[float]) -> None:
    above = [value for value in values if value > 0]
    if above and max(above) > min(above) * 10**MOST_DECADES:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")


def _bins(values: Sequence[float]) -> int:
    return max(FEWEST_BINS, min(MOST_BINS, len(values) // 2))


def _whole_numbers(axes: Axes) -> None:
    """Count on the vertical axis in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _draw(picture: Picture, path: Path, look: Look) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    colours = dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"), look.ink)
    papers = dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), look.paper)
    plain: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": picture.name,
        "font.family": ["DejaVu Sans", "sans-serif"],
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "legend.frameon": False,
        "axes.axisbelow": True,
    }
    with mpl.rc_context(plain | colours | papers):
        figure = Figure(SIZE_IN, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=True, color=look.faint, linewidth=0.4, alpha=0.5)
        picture.draw(axes, look)
        if path.suffix != ".svg":
            figure.savefig(path, dpi=110)
            return
        drawn = StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    write_text(path, _for_both(drawn.getvalue()))


def _for_both(svg: str) -> str:
    """Have an SVG that was drawn light turn dark where the reader prefers that."""
    rules = "".join(
        f'[style*="{kind}: {getattr(LIGHT, name)}"] {{ {kind}: {getattr(DARK, name)} !important }} '
        for kind in ("fill", "stroke")
        for name in ("paper", "ink")
    )
    return svg.replace("<defs>", f"<style>@media (prefers-color-scheme: dark) {{ {rules}}}</style>\n <defs>", 1)


def _csv(picture: Picture) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(picture.header)
    writer.writerows([_cell(value) for value in row] for row in picture.rows)
    return text.getvalue()


def _cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
