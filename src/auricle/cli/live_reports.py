"""How a live run is shown: computed anew from its raw events, in 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auricle.bench.live.verdicts import mark, verdicts
from auricle.cli.console import print_json, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auricle.bench.records import Run

S_PER_MIN = 60
MS_PER_S = 1000
LONG_MS = 10_000
BYTES_PER_MB = 1_000_000

Row = tuple[str, ...]


def print_live(run: Run, *, as_json: bool) -> int:
    """Print a run and return the exit status: 1 when it is void or nothing was measured."""
    from auricle.bench.live.summary import summarise

    summary = summarise(run.events(), run.info["settings"])
    for note in run.notes:
        say(f"note: {note}")
    if as_json:
        print_json({**run.info, **summary})
    else:
        for line in lines(run, summary):
            print(line)
    measured = any(level["streams"]["complete"] for level in summary["levels"] if level["speed"] is not None)
    return 1 if summary["certificate"]["void"] or not measured else 0


def lines(run: Run, summary: dict[str, Any]) -> Iterator[str]:
    """Yield the report line by line, at most 80 columns wide but for names and addresses."""
    from auricle.bench.environment import summary as machine

    corpus, settings = run.info["corpus"], run.info["settings"]
    yield machine(run.info["environment"])
    load = f"{settings['chunk_ms']} ms packets at {settings['speed']:g}x real time, random phase"
    yield f"corpus {corpus['name']}: {corpus['utterances']} utterances, {corpus['duration_s'] / S_PER_MIN:.1f} min"
    yield load
    for arm in summary["arms"]:
        own = [level for level in summary["levels"] if level["arm"] == arm["name"]]
        yield ""
        yield arm["name"] if arm["says"] is None else f"{arm['says'].partition(' on ')[0]}: {arm['name']}"
        yield from verdicts(own, settings)
        yield ""
        yield from table(CURVE, [_curve(level) for level in own])
        yield ""
        yield from table(MORE, [_more(level) for level in own])
        yield from _reference(summary["reference"].get(arm["name"]))
    yield from _client(summary["certificate"])
    yield f"Run: {run.path}"


CURVE: Row = (
    "live",
    "held",
    "refused",
    "failed",
    "WER % (95 %)",
    "vs 1",
    "final p50/p95 ms",
    "TTFT",
    "late",
    "CPU",
    "",
)
MORE: Row = (
    "live",
    "CER %",
    "S/D/I",
    "empty/cut",
    "differ",
    "chunk p95",
    "finalize",
    "word (heard)",
    "UPWR",
    "RTFx",
    "MB",
)


def table(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table, its columns aligned right and as wide as they must be."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        *cells, last = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        yield f"{' '.join(cells)} {last.strip() if row is not head else last}".rstrip()


def _curve(level: dict[str, Any]) -> Row:
    streams, timed = level["streams"], level["speed"] is not None
    return (
        _name(level),
        _number(streams["held"]),
        str(streams["refused"]),
        str(streams["failed"]),
        _rate(level["wer"]),
        _versus(level),
        f"{_ms(level['final'], 'p50_ms')}/{_ms(level['final'], 'p95_ms')}" if timed else "",
        _ms(level["ttft"], "p50_ms") if timed else "",
        "" if not timed or level["late"] is None else f"{100 * level['late']['share']:.1f}%",
        "" if level["server"]["cpu_cores"] is None else f"{100 * level['server']['cpu_cores']:.0f}%",
        mark(level),
    )


def _more(level: dict[str, Any]) -> Row:
    wer, word = level["wer"], level.get("emission")
    differ = level["differing"]
    return (
        _name(level),
        "-" if level["cer"] is None else f"{100 * level['cer']['rate']:.1f}",
        "-" if wer is None else "{substitutions}/{deletions}/{insertions}".format(**wer),
        f"{level['empty']}/{level['truncated']}",
        "" if differ is None else f"{differ['different']}/{differ['compared']}",
        _ms(level.get("chunk"), "p95_ms"),
        _ms(level.get("finalize"), "p50_ms"),
        "-" if word is None else f"{_ms(word, 'p50_ms')} ({100 * word['coverage']:.0f}%)",
        "-" if level["upwr"] is None else f"{level['upwr']['upwr']:.2f}",
        "-" if level["rtfx"] is None else f"{level['rtfx']:.1f}",
        "" if level["server"]["peak_rss_bytes"] is None else f"{level['server']['peak_rss_bytes'] / BYTES_PER_MB:,.0f}",
    )


def _reference(reference: dict[str, Any] | None) -> Iterator[str]:
    if reference is not None:
        check = reference["checked"]
        told = (
            "not compared with level 1"
            if check is None
            else (f"{check['compared'] - check['different']} of {check['compared']} texts of level 1 are the same")
        )
        yield f"Unpaced, one stream at a time (row 1u): {told}."


def _client(told: dict[str, Any]) -> Iterator[str]:
    late = "-" if told["late_p99_ms"] is None else f"{told['late_p99_ms']:.1f} ms"
    cpu = "-" if told["cpu"] is None else f"{100 * told['cpu']:.0f} %"
    limit = (
        "not measured, see `auricle bench client`" if told["limit"] is None else f"{told['limit']} streams a process"
    )
    facts = f"send lateness p99 {late}, CPU {cpu}; own limit {limit}"
    if not told["void"]:
        yield f"Client: ok ({facts})."
        return
    yield f"Client: VOID ({facts}). The client was late, so these figures do not tell of the server:"
    for reason in told["void"]:
        yield f"  {reason}"


def _name(level: dict[str, Any]) -> str:
    return f"{level['live']}u" if level["speed"] is None else str(level["live"])


def _versus(level: dict[str, Any]) -> str:
    paired, differing = level["paired"], level["differing"]
    if paired is None:
        return "-"
    if differing is not None and differing["compared"] and not differing["different"] and not paired["difference"]:
        return "same"
    mark = "" if paired["low"] <= 0 <= paired["high"] else "*"
    return f"{100 * paired['difference']:+.1f}{mark}"


def _rate(rate: dict[str, Any] | None) -> str:
    return "-" if rate is None else f"{100 * rate['rate']:.1f} ({100 * rate['low']:.1f}-{100 * rate['high']:.1f})"


def _ms(found: dict[str, Any] | None, name: str) -> str:
    value = None if found is None else found[name]
    if value is None:
        return "-"
    return f"{value:.0f}" if value < LONG_MS else f"{value / MS_PER_S:.1f}s"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
