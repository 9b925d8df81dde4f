"""How a profile is shown: computed anew from its raw events, as tables for a terminal or as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auricle.cli.console import megabytes, print_grid, print_json, say
from auricle.report.tables import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auricle.bench.records import Run

SHOWN_OPERATORS = 20
GIGA = 1e9
MEGA = 1e6
MS_PER_S = 1000.0
US_PER_S = 1e6
LEAST_SHARE = 0.0005
PERCENTILES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")


def print_profile(run: Run, pictures: Path | None, *, markdown: bool, as_json: bool, per_file: bool = False) -> int:
    """Print a profile and draw its pictures into a folder, if there is one; return the exit status."""
    from auricle.bench.profile.pictures import draw_pictures
    from auricle.bench.profile.run import summarise

    summary = summarise(run)
    found = summary["components"]
    drawn: list[str] = []
    if found is not None and pictures is not None:
        drawn = [str(path) for path in draw_pictures(run, found, pictures)]
    for note in run.notes:
        say(f"note: {note}")
    if as_json:
        print_json({**run.info, "summary": summary, "pictures": drawn})
        return _status(summary)
    for line in _head(run, found):
        print(f"{line}\n" if markdown else line)
    for grid in _grids(summary, per_file=per_file):
        print_grid(grid, as_markdown=markdown)
    if not markdown:
        print()
    for line in _findings(summary):
        print(f"{line}\n" if markdown else line)
    for line in _talk(summary):
        say(line)
    print_json({"run": run.id, "path": str(run.path), "headline": run.info.get("headline"), "pictures": drawn})
    return _status(summary)


def _status(summary: dict[str, Any]) -> int:
    return 1 if summary["components"] is None or summary["components"]["failures"] else 0


def _head(run: Run, found: dict[str, Any] | None) -> Iterator[str]:
    from auricle.bench.environment import summary

    corpus, settings = run.info["corpus"], run.info["settings"]
    yield f"{run.id} ({run.info['status']}): {summary(run.info['environment'])}"
    if found is None:
        return
    info = found["info"]
    threads = "" if info["threads"] is None else f", {info['threads']} threads"
    yield f"{info['engine']} {info['name']}, {info['precision']}, {info['device']}{threads}; a profile, not a timed run"
    what = f"streams of {found['chunk_ms']} ms, {found['streams']} in lockstep, unpaced" if found["live"] else "files"
    yield (
        f"corpus {corpus['name']}, {found['files']} utterances, {found['audio_s']:.0f} s, hash {corpus['hash'][:12]}; "
        f"{what}; {settings['runs']} passes after {settings['warmup']} of warm-up"
    )


def _grids(summary: dict[str, Any], *, per_file: bool) -> Iterator[Grid]:
    found, operators = summary["components"], summary["operators"]
    if found is not None:
        yield _components(found)
        yield _streams(found)
        if found["chunks"] is not None:
            yield _chunks(found["chunks"])
        if per_file:
            yield _files(found["rows"])
    if operators is not None and operators["observable"]:
        yield _operators(operators)
        yield _bounds(operators)
        if operators["transfers"]:
            yield _transfers(operators["transfers"])


def _components(found: dict[str, Any]) -> Grid:
    unit = "step" if found["live"] else "file"
    right = ("share", "n", "mean ms", "p50", "p90", "p95", "p99", "max")
    rows = tuple(
        (
            f"whole {unit}" if one["stage"] == "step" else one["stage"],
            "" if one["share"] is None else _percent(one["share"]),
            str(one["n"]),
            _ms(one["mean_ms"]),
            *(_ms(one[name]) for name in PERCENTILES),
            _ms(one["max_ms"]),
        )
        for one in found["components"]
    )
    return Grid(f"Components: ms in one {unit}", ("component", *right), right, rows)


def _streams(found: dict[str, Any]) -> Grid:
    rtf, ttft = found["rtf"], found["ttft"]
    right = ("median", "least", "most", "above 1", "of")
    together = f" of {found['streams']} together" if found["streams"] > 1 else ""
    rows = [_rtf_row(f"RTF{together}", rtf)]
    if rtf["padded"] is not None:
        rows.append(_rtf_row(f"RTF{together}, last chunk padded", rtf["padded"]))
    rows.append(("compute-TTFT, ms", _ms(ttft["p50_ms"]), _ms(ttft["min_ms"]), _ms(ttft["max_ms"]), "", str(ttft["n"])))
    rows.append(("RTFx, all streams", "-" if found["rtfx"] is None else f"{found['rtfx']:.1f}", "", "", "", ""))
    heard = "-" if ttft["median_audio_s"] is None else f"{ttft['median_audio_s']:.2f}"
    rows.append(("audio heard by then, s", heard, "", "", "", ""))
    if ttft["never"]:
        rows.append(("never had words", "", "", "", "", str(ttft["never"])))
    return Grid("Utterances", ("figure", *right), right, tuple(rows))


def _rtf_row(name: str, spread: dict[str, Any]) -> tuple[str, ...]:
    figures = ("-" if spread[key] is None else f"{spread[key]:.4f}" for key in ("median", "min", "max"))
    return (name, *figures, str(spread["over_1"]), str(spread["files"]))


def _chunks(chunks: dict[str, Any]) -> Grid:
    right = ("n", "p50 ms", "p95 ms", "max ms")
    rows = tuple(
        (name, str(one["n"]), _ms(one["p50_ms"]), _ms(one["p95_ms"]), _ms(one["max_ms"]))
        for name, one in (("first", chunks["first"]), ("steady state", chunks["steady"]), ("last", chunks["last"]))
    )
    return Grid("Latency of chunks", ("chunk", *right), right, rows)


def _trends(chunks: dict[str, Any]) -> Iterator[str]:
    drift, ratio = chunks["drift"], chunks["first_over_steady"]
    if ratio is not None:
        yield f"the first chunk takes {ratio:.2f} times as long as those that follow"
    if drift is not None:
        interval = "" if drift["low"] is None else f" (95 %: {drift['low']:+.4f} to {drift['high']:+.4f})"
        yield f"drift of latency {drift['ms_per_s']:+.4f} ms per second of the stream{interval}"


def _files(rows: Sequence[dict[str, Any]]) -> Grid:
    right = ("audio s", "steps", "busy ms", "compute-TTFT ms", "RTF", "RTF padded")
    cells = tuple(
        (
            row["id"],
            f"{row['audio_s']:.1f}",
            str(row["steps"]),
            _ms(row["busy_ms"]),
            _ms(row["ttft_ms"]),
            *("-" if row[key] is None else f"{row[key]:.4f}" for key in ("rtf", "rtf_padded")),
            row["text"] or "-",
        )
        for row in rows
    )
    return Grid("Files, medians of their passes", ("file", *right, "text"), right, cells)


def _operators(operators: dict[str, Any]) -> Grid:
    right = ("self %", "self ms", "total %", "total ms", "mean us", "calls", "MFLOP", "MB", "% of peak", "% of copy")
    rows = tuple(
        (
            row["name"],
            row["stage"] or "-",
            f"{100 * row['self_share']:.1f}",
            f"{row['self_s'] * MS_PER_S:.2f}",
            f"{100 * row['total_share']:.1f}",
            f"{row['total_s'] * MS_PER_S:.2f}",
            f"{row['mean_s'] * US_PER_S:.1f}",
            str(row["calls"]),
            f"{row['flops'] / MEGA:,.1f}" if row["flops"] else "-",
            megabytes(row["bytes"]) if row["bytes"] else "-",
            _share(row["compute_share"]),
            _share(row["memory_share"]),
            row["bound"],
            _shapes(row["shapes"]),
        )
        for row in operators["rows"][:SHOWN_OPERATORS]
    )
    title = f"Operators of {operators['steps']} steps under the profiler, by total time"
    return Grid(title, ("operator", "stage", *right, "bound by", "shapes"), right, rows)


def _bounds(operators: dict[str, Any]) -> Grid:
    right = ("compute %", "memory %", "overhead %", "ms", "calls", "GFLOP", "GFLOP/s of audio", "MB")
    bounds, audio_s = operators["bound_by"], operators["audio_s"]
    row = (
        *(f"{100 * bounds[name]:.1f}" for name in ("compute", "memory", "overhead")),
        f"{operators['self_s'] * MS_PER_S:.1f}",
        f"{operators['calls']:,}",
        f"{operators['flops'] / GIGA:.3f}",
        f"{operators['flops'] / GIGA / audio_s:.3f}" if audio_s else "-",
        megabytes(operators["bytes"]),
    )
    return Grid("All operators: share of their time by what bounds them", ("of", *right), right, (("all", *row),))


def _findings(summary: dict[str, Any]) -> Iterator[str]:
    found, operators = summary["components"], summary["operators"]
    if found is not None and found["chunks"] is not None:
        yield from _trends(found["chunks"])
    if operators is None or not operators["observable"]:
        return
    peak = operators["peak"]
    best = ", ".join(f"{number} {rate / GIGA:,.0f} GFLOP/s" for number, rate in peak["matmul"].items()) or "no products"
    yield (
        f"measured peak of {peak['device']}, {peak['threads']} threads: {best}, copies "
        f"{peak['copy_bytes_per_s'] / GIGA:.1f} GB/s, an empty call {peak['call_s'] * US_PER_S:.1f} us"
    )
    if found is not None and operators["audio_s"]:
        slower = operators["steps_s"] / operators["audio_s"] * found["rtfx"]
        yield (
            f"the profiler made steps {slower:.1f} times as long; all {len(operators['rows'])} are in --json, "
            f"the {min(SHOWN_OPERATORS, len(operators['rows']))} longest above"
        )


def _transfers(transfers: Sequence[dict[str, Any]]) -> Grid:
    right = ("calls", "MB", "ms")
    rows = tuple(
        (one["kind"], str(one["calls"]), megabytes(one["bytes"]), f"{one['device_s'] * MS_PER_S:.3f}")
        for one in transfers
    )
    return Grid("Copies between host and device", ("kind", *right), right, rows)


def _talk(summary: dict[str, Any]) -> Iterator[str]:
    found, operators = summary["components"], summary["operators"]
    if found is None:
        yield "warning: not one utterance was played to its end; there is nothing to show"
        return
    if not found["texts_repeat"]:
        yield "warning: another pass gave other texts"
    for error in found["errors"]:
        yield f"warning: {found['failures']} utterances failed and are left out: {error}"
    if found["ttft"]["p50_ms"] is None:
        yield f"note: {found['ttft']['n']} plays of {found['files']} utterances bear no percentile of compute-TTFT"
    if operators is not None and not operators["observable"]:
        yield f"note: {operators['reason']}"


def _shapes(shapes: Sequence[Any]) -> str:
    """Write the shapes of tensors, those of scalars left out."""
    return " ".join("x".join(map(str, shape)) if _flat(shape) else f"{len(shape)} tensors" for shape in shapes if shape)


def _flat(shape: Sequence[Any]) -> bool:
    return all(isinstance(size, int) for size in shape)


def _share(value: float | None) -> str:
    return "-" if value is None or value < LEAST_SHARE else f"{100 * value:.1f}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
