"""How a run of the file benchmark is put into tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auricle.report.tables import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auricle.bench.records import Run

S_PER_MIN = 60
BYTES_PER_MB = 1_000_000


def head(run: Run) -> Iterator[str]:
    """Yield what a run is and on what it ran."""
    from auricle.bench.environment import summary

    corpus, settings = run.info["corpus"], run.info["settings"]
    yield f"{run.id} ({run.info['status']}): {summary(run.info['environment'])}"
    yield (
        f"corpus {corpus['name']}, {corpus['utterances']} utterances, {corpus['duration_s'] / S_PER_MIN:.1f} min, "
        f"hash {corpus['hash'][:12]}; {settings['runs']} runs after {settings['warmup']} of warm-up, "
        f"batches of {settings['batch_size']}"
    )


def grids(run: Run, summary: dict[str, Any], *, per_file: bool) -> Iterator[Grid]:
    """Yield the tables of a run: quality, speed, memory, the stages of each arm, and its files when asked."""
    arms = summary["arms"]
    yield _quality(run, arms)
    yield _speed(arms)
    yield _memory(arms)
    for arm in arms:
        yield _stages(arm)
        if per_file and arm["files"] is not None:
            yield _files(arm)


def _quality(run: Run, arms: Sequence[dict[str, Any]]) -> Grid:
    right = ("WER %", "S/D/I", "of", "CER %", "words")
    rows = tuple(
        (
            arm["name"],
            _rate(arm["wer"]),
            "-" if arm["wer"] is None else "{substitutions}/{deletions}/{insertions}".format(**arm["wer"]),
            "-" if arm["wer"] is None else str(arm["wer"]["reference_length"]),
            _rate(arm["cer"]),
            str(arm["words"]),
        )
        for arm in arms
    )
    normaliser = run.info["normaliser"]
    title = f"Quality, 95 % intervals; normaliser {normaliser['name']}, {normaliser['hash'][:12]}"
    return Grid(title, ("arm", *right), right, rows)


def _speed(arms: Sequence[dict[str, Any]]) -> Grid:
    right = ("total s", "wall s", "RTF", "RTFx", "load s", "first s")
    rows = tuple(
        (
            arm["name"],
            _spread(arm["total_s"]),
            _spread(arm["wall_s"]),
            f"{arm['rtf']:.4f}",
            f"{arm['rtfx']:.1f}",
            f"{arm['load_s']:.2f}",
            f"{arm['first_result_s']:.2f}",
        )
        for arm in arms
    )
    return Grid(
        "Speed of the whole corpus, median (least to most); first: load to first text",
        ("arm", *right),
        right,
        rows,
    )


def _memory(arms: Sequence[dict[str, Any]]) -> Grid:
    right = ("peak RSS MB", "device MB", "CPU cores")
    columns = ("arm", *right, "device", "precision", "weights")
    return Grid("Memory", columns, right, tuple(_memory_row(arm) for arm in arms))


def _memory_row(arm: dict[str, Any]) -> tuple[str, ...]:
    info = arm["info"]
    weights = ", ".join(f"{group['dtype']} {_megabytes(group['bytes'])} MB" for group in info["weights"])
    return (
        arm["name"],
        _megabytes(arm["memory"]["peak_rss_bytes"]),
        _megabytes(arm["memory"]["peak_device_bytes"]),
        _number(arm["memory"]["cpu_cores"], "{:.2f}"),
        info["device"],
        info["precision"],
        _dash(weights),
    )


def _stages(arm: dict[str, Any]) -> Grid:
    stages = arm["stages"]
    rows = [
        (row["stage"], f"{row['median_ms']:,.1f}", "outside" if row["share"] is None else _percent(row["share"]))
        for row in stages["rows"]
    ]
    total_ms = stages["sum_ms"] + stages["residual_ms"]
    rows.append(("in no stage", f"{stages['residual_ms']:,.1f}", _percent(stages["residual_share"])))
    lanes = "total" if stages["lanes"] == 1 else f"total x {stages['lanes']} workers"
    rows.append((lanes, f"{total_ms:,.1f}", _percent(1.0)))
    return Grid(
        f"Stages of {arm['name']}",
        ("stage", "median ms", "share"),
        ("median ms", "share"),
        tuple(rows),
    )


def _files(arm: dict[str, Any]) -> Grid:
    right = ("audio s", "total ms", "encode ms", "decode ms", "wall ms", "RTF", "words")
    rows = tuple(
        (
            file["id"],
            f"{file['audio_s']:.1f}",
            *(f"{file[key]:,.0f}" for key in ("total_ms", "encode_ms", "decode_ms", "wall_ms")),
            _number(file["rtf"], "{:.3f}"),
            str(file["words"]),
            _dash(file["text"]),
        )
        for file in arm["files"]
    )
    return Grid(f"Files of {arm['name']}, medians", ("file", *right, "text"), right, rows)


def warnings(summary: dict[str, Any]) -> Iterator[str]:
    """Yield what to beware of."""
    for arm in summary["arms"]:
        name = arm["name"]
        if not arm["texts_repeat"]:
            yield f"{name} gave other texts in another pass; the error rates are of the first"
        if arm["empty"] > arm["failures"]:
            yield f"{name} heard nothing in {arm['empty'] - arm['failures']} utterances"
        for error in arm["errors"]:
            yield f"{name} failed on {arm['failures']} utterances, which count as deleted: {error}"
        if arm["total_s"]["low"] is None:
            held = 100 * arm["total_s"]["range_confidence"]
            yield f"{name}: least to most of {arm['runs']} runs holds the median at {held:.0f} %; --runs 6 gives 95 %"
        for caveat in arm["caveats"]:
            yield f"{name}: {caveat}"


def _rate(error_rate: dict[str, Any] | None) -> str:
    if error_rate is None:
        return "-"
    if error_rate["low"] is None:
        return f"{100 * error_rate['rate']:.1f}"
    return f"{100 * error_rate['rate']:.1f} ({100 * error_rate['low']:.1f}-{100 * error_rate['high']:.1f})"


def _spread(spread: dict[str, Any]) -> str:
    return f"{spread['median']:.2f} ({spread['min']:.2f}-{spread['max']:.2f})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _megabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / BYTES_PER_MB:,.1f}"


def _dash(value: object) -> str:
    return "-" if value in (None, "", (), []) else str(value)
