"""How a live run is put into words and tables: 80 columns of text, or Markdown."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from auricle.bench.live.capacity import MOST_STREAMS
from auricle.bench.live.split import PARTS
from auricle.bench.live.verdicts import is_same, mark, verdicts
from auricle.score.bootstrap import MIN_SOUND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from auricle.bench.records import Run

    Tables = Callable[["Row", Sequence["Row"]], Iterator[str]]

S_PER_MIN = 60
COLUMNS = 80
MOST_REASONS = 5
MS_PER_S = 1000
LONG_MS = 10_000
BYTES_PER_MB = 1_000_000

Row = tuple[str, ...]


def lines(run: Run, summary: dict[str, Any], table: Tables) -> Iterator[str]:
    """Yield the report line by line, at most 80 columns wide but for names, addresses and tables in Markdown."""
    from auricle.bench.environment import summary as machine

    corpus, settings, normaliser = (run.info[name] for name in ("corpus", "settings", "normaliser"))
    yield machine(run.info["environment"])
    load = f"{settings['chunk_ms']} ms packets at {settings['speed']:g}x real time, random phase"
    scored_by = f"normaliser {normaliser['name']}, {normaliser['hash'][:12]}"
    yield f"corpus {corpus['name']}: {corpus['utterances']} utterances, {corpus['duration_s'] / S_PER_MIN:.1f} min"
    yield from wrap(f"{load}; {scored_by}", COLUMNS, subsequent_indent="  ")
    for arm in summary["arms"]:
        own = [level for level in summary["levels"] if level["arm"] == arm["name"]]
        yield ""
        says = arm["name"] if arm["says"] is None else f"{arm['says'].partition(' on ')[0]}: {arm['name']}"
        yield from wrap(says, COLUMNS, subsequent_indent="  ")
        told = (
            *lookahead(arm["lookahead_ms"]),
            *verdicts(own, settings),
            *capacity_lines(summary["capacity"][arm["name"]], own),
            *caveats(own),
        )
        for line in told:
            yield from wrap(line, COLUMNS, subsequent_indent="  ")
        yield ""
        yield from table(CURVE, [curve_row(level) for level in own])
        yield ""
        yield from table(MORE, [more_row(level) for level in own])
        yield ""
        yield from table(LOAD, [load_row(level) for level in own if level["speed"] is not None])
        if any(cell != "-" for level in own for cell in server_row(level)[1:]):
            yield ""
            yield from table(SERVER, [server_row(level) for level in own])
        for level in own:
            yield from _first_token(level)
        yield from troubles(own)
        yield from reference_lines(summary["reference"].get(arm["name"]))
    if rows := list(_cpu_rows(summary["arms"], summary["levels"])):
        yield ""
        yield from table(CPUS, rows)
    yield from client_lines(summary["certificate"])
    yield f"Run: {run.path}"


CURVE: Row = ("live", "held", "refused", "failed", "WER % (95 %)", "vs 1", "final p50/p95", "TTFT", "late", "")
MORE: Row = ("live", "CER %", "S/D/I", "empty/cut", "differ", "chunk p95", "finalize", "word (heard)", "UPWR")
LOAD: Row = ("live", "connect", "unconnected", "TTFT raw", "TTFT p95", "drift ms/s", "RTFx")
SERVER: Row = ("live", "CPU", "MB", "headroom", "queue", "step", "VRAM", "GPU")
CPUS: Row = ("cores", "live", "TTFT p50 ms", "p95", "throttled", "for s", "loop lag ms", "CPU")


def table(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table, its columns aligned right and as wide as they must be."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        *cells, last = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        yield f"{' '.join(cells)} {last.strip() if row is not head else last}".rstrip()


def markdown_table(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table in Markdown, its columns aligned right."""
    for row in (head, ("---:",) * len(head), *rows):
        yield f"| {' | '.join(row)} |"


def curve_row(level: dict[str, Any]) -> Row:
    """Return the row of a level in the curve."""
    streams, timed = level["streams"], level["speed"] is not None
    return (
        level_name(level),
        _number(streams["held"]),
        str(streams["refused"]),
        str(streams["failed"]),
        _rate(level["wer"]),
        _versus(level),
        f"{_ms(level['final'], 'p50_ms')}/{_ms(level['final'], 'p95_ms')}" if timed else "",
        _ms(level["ttft"], "p50_ms") if timed else "",
        "" if not timed or level["late"] is None else f"{100 * level['late']['share']:.1f}%",
        mark(level),
    )


def more_row(level: dict[str, Any]) -> Row:
    """Return the row of what else is known of its texts and times."""
    wer, word = level["wer"], level.get("emission")
    differ = level["differing"]
    return (
        level_name(level),
        "-" if level["cer"] is None else f"{100 * level['cer']['rate']:.1f}",
        "-" if wer is None else "{substitutions}/{deletions}/{insertions}".format(**wer),
        f"{level['empty']}/{level['truncated']}",
        "" if differ is None else f"{differ['different']}/{differ['compared']}",
        _ms(level.get("chunk"), "p95_ms"),
        _ms(level.get("finalize"), "p50_ms"),
        "-" if word is None else f"{_ms(word, 'p50_ms')} ({100 * word['coverage']:.0f}%)",
        "-" if level["upwr"] is None else f"{level['upwr']['upwr']:.2f}",
    )


def lookahead(lookahead_ms: float | None) -> Iterator[str]:
    """Yield the model's lookahead, where it is known."""
    if lookahead_ms is not None:
        yield f"Lookahead of the model: {lookahead_ms:g} ms, a constant that is not added to any latency."


def caveats(levels: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield what to beware of in the intervals of the WER, each reason once."""
    reasons: dict[str, list[str]] = {}
    for level in levels:
        caveat = "" if level["wer"] is None else level["wer"]["caveat"]
        for reason in filter(None, caveat.split("; ")):
            if not reason.startswith("for others"):
                reasons.setdefault(reason.partition(":")[0], []).append(level_name(level))
    for reason, names in reasons.items():
        yield f"WER interval at {', '.join(dict.fromkeys(names))} live: {reason}."


def capacity_lines(found: dict[str, Any] | None, levels: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield what the search for capacity found."""
    void = [str(level["live"]) for level in levels if level["phase"] == "probe" and level["client"]["void"]]
    if void:
        yield f"Void probes, repeated: {', '.join(void)} live; the client was not on time, so they decided nothing."
    if found is not None and found["void"] is not None:
        yield f"The client was twice not on time with {found['void']} streams, so more were not tried."
    if found is not None:
        tried = MOST_STREAMS if found["void"] is None else found["void"]
        most = f"and no limit found up to {tried}" if found["high"] is None else f"to {found['high']}"
        yield f"Capacity within these bounds: {found['low']} {most} live streams ({found['probes']} probes)."


def _cpu_rows(arms: Sequence[dict[str, Any]], levels: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """Yield what a share of the processors does, for every limit and level."""
    cores = {arm["name"]: arm["server_cpus"] for arm in arms}
    for level in levels:
        if level["speed"] is None or cores[level["arm"]] is None:
            continue
        server = level["server"]
        yield (
            f"{cores[level['arm']]:g}",
            str(level["live"]),
            _ms(level["ttft"], "p50_ms"),
            _ms(level["ttft"], "p95_ms"),
            _known(server["throttled_share"], "{:.0f}%", 100),
            _known(server["throttled_s"], "{:.1f}"),
            _known(server["loop_lag_mean_ms"], "{:.1f}"),
            _known(server["cpu_cores"], "{:.0f}%", 100),
        )


def load_row(level: dict[str, Any]) -> Row:
    """Return the row of connecting, drift and throughput."""
    drift = level["drift"]
    return (
        level_name(level),
        _ms(level["connect"], "p50_ms"),
        str(level["streams"]["unconnected"]),
        _ms(level["ttft_from_start"], "p50_ms"),
        _ms(level["ttft"], "p95_ms"),
        "-" if drift is None else f"{drift['ms_per_s']:.1f}{_between(drift)}",
        _known(level["rtfx"], "{:.1f}"),
    )


def server_row(level: dict[str, Any]) -> Row:
    """Return the row of what the server took."""
    told = level["server"]
    return (
        level_name(level),
        _known(told["cpu_cores"], "{:.0f}%", 100),
        _known(told["peak_rss_bytes"], "{:,.0f}", 1 / BYTES_PER_MB),
        _known(told["headroom"], "{:.1f}"),
        _known(told["queue_wait_mean_ms"], "{:.0f}"),
        _known(told["step_mean_ms"], "{:.1f}"),
        _known(told["peak_device_bytes"], "{:,.0f}", 1 / BYTES_PER_MB),
        _known(told["mean_gpu_utilisation_percent"], "{:.0f}%"),
    )


def _known(value: float | None, form: str, factor: float = 1.0) -> str:
    return "-" if value is None else form.format(factor * value)


def _between(found: dict[str, Any]) -> str:
    return "" if found["low"] is None else f" ({found['low']:.0f} to {found['high']:.0f})"


def _first_token(level: dict[str, Any]) -> Iterator[str]:
    parts = level.get("ttft_parts")
    if parts is not None and parts["speech_ms"] is not None:
        told = ", ".join(f"{name.replace('_', ' ')} {parts[f'{name}_ms']:.1f}" for name in PARTS)
        yield from wrap(f"TTFT at {level_name(level)} live, median ms: {told}", COLUMNS, subsequent_indent="  ")


def troubles(levels: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield why streams failed or were refused, each reason once."""
    for kind in ("errors", "refusals"):
        reasons: dict[str, list[str]] = {}
        for level in levels:
            for reason in level["streams"][kind]:
                reasons.setdefault(reason.partition(", observed")[0], []).append(level_name(level))
        for reason, names in list(reasons.items())[:MOST_REASONS]:
            what = "Failed" if kind == "errors" else "Refused"
            yield from wrap(
                f"{what} at {', '.join(dict.fromkeys(names))} live: {reason}", COLUMNS, subsequent_indent="  "
            )


def reference_lines(reference: dict[str, Any] | None) -> Iterator[str]:
    """Yield how the reference of one stream at a time fared."""
    if reference is not None:
        check = reference["checked"]
        told = (
            "not compared with level 1"
            if check is None
            else (f"{check['compared'] - check['different']} of {check['compared']} texts of level 1 are the same")
        )
        yield f"Unpaced, one stream at a time (row 1u): {told}."


def client_lines(told: dict[str, Any]) -> Iterator[str]:
    """Yield the certificate of the client."""
    late = "-" if told["late_p99_ms"] is None else f"{told['late_p99_ms']:.1f} ms"
    cpu = "-" if told["cpu"] is None else f"{100 * told['cpu']:.0f} %"
    limit = (
        "not measured, see `auricle bench client`" if told["limit"] is None else f"{told['limit']} streams a process"
    )
    yield f"Client: {'VOID' if told['void'] else 'ok'} (send lateness p99 {late}, CPU {cpu})"
    yield f"  its own limit: {limit}"
    if told["void"]:
        yield "  The client was not on time, so these figures do not tell of the server:"
    for reason in told["void"]:
        yield f"  {reason}"


def level_name(level: dict[str, Any]) -> str:
    """Return how many streams were live; `1u`: one at a time, unpaced."""
    return f"{level['live']}u" if level["speed"] is None else str(level["live"])


def _versus(level: dict[str, Any]) -> str:
    paired = level["paired"]
    if paired is None:
        return "-"
    if is_same(level):
        return "same"
    mark = "" if paired["units"] < MIN_SOUND or paired["low"] <= 0 <= paired["high"] else "*"
    return f"{100 * paired['difference']:+.1f}{mark}"


def _rate(rate: dict[str, Any] | None) -> str:
    return "-" if rate is None else f"{100 * rate['rate']:.1f} ({100 * rate['low']:.0f}-{100 * rate['high']:.0f})"


def _ms(found: dict[str, Any] | None, name: str) -> str:
    value = None if found is None else found[name]
    if value is None:
        return "-"
    return f"{value:.0f}" if value < LONG_MS else f"{value / MS_PER_S:.1f}s"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
