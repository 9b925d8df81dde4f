"""Every number of a live run is computed again from its raw events by a script that shares no code with Auricle."""

from __future__ import annotations

import ast
import json
import math
import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.planted_runs import Planted, Run

SCRIPT = Path(__file__).with_name("recompute_live.py")
# What is told of a figure in words, or repeats the settings, and is no number of the run.
WORDS = {
    *("arm", "phase", "base", "method", "resampled", "caveat", "not_worse", "margin_points", "errors", "refusals"),
    *("loop", "void", "units", "deletions", "insertions", "per_s", "untimed"),
}
# What is known only of a server on this machine with a GPU or a cgroup of its own.
ELSEWHERE = {"peak_device_bytes", "mean_gpu_utilisation_percent", "throttled_share", "throttled_s"}


def differences(printed: Any, again: Any, place: str = "") -> Iterator[str]:
    """Yield where two figures differ, or where one was not computed again."""
    if isinstance(printed, dict) and isinstance(again, dict):
        for name, value in printed.items():
            if name in WORDS or (name in ELSEWHERE and value is None):
                continue
            if name not in again:
                if value is not None:
                    yield f"{place}.{name}: {value} was not computed again"
                continue
            yield from differences(value, again[name], f"{place}.{name}")
    elif not same(printed, again):
        yield f"{place}: {printed} against {again}"


def same(printed: Any, again: Any) -> bool:
    """Tell whether two figures are equal, or one is within the two limits of the other."""
    if isinstance(again, list) and isinstance(printed, int | float):
        return bool(again[0] - 1e-9 <= printed <= again[1] + 1e-9)
    if isinstance(printed, int | float) and isinstance(again, int | float):
        return math.isclose(printed, again, rel_tol=1e-9, abs_tol=2e-4)
    return again in ("unknown", printed)


def errors_differ(printed: Any, again: Any) -> Iterator[str]:
    """Yield where the counts of errors differ."""
    for unit in ("wer", "cer"):
        one, other = printed[unit], again[unit]
        if one is None:
            continue
        total = one["substitutions"] + one["deletions"] + one["insertions"]
        if (total, one["insertions"] - one["deletions"]) != (other["errors"], other["insertions_minus_deletions"]):
            yield f"{unit}: {one} against {other}"


def recomputed(run: Run) -> dict[str, Any]:
    """Run the script in a Python that sees the standard library alone."""
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(run.folder)]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def check(run: Run) -> None:
    """Fail when any number of a run cannot be computed again, or is another."""
    again = recomputed(run)
    assert len(again["levels"]) == len(run.info["levels"]) > 0
    found: list[str] = []
    for printed, level in zip(run.info["levels"], again["levels"], strict=True):
        found += differences(printed, level, f"{printed['phase']} {printed['live']}")
        found += errors_differ(printed, level)
        assert len(printed["client"]["void"]) == level["client"]["void"]
    certificate = run.info["certificate"]
    found += differences(certificate, again["certificate"], "certificate")
    assert len(certificate["void"]) == again["certificate"]["void"]
    assert not found, "\n".join(found)


def ms(figure: dict[str, Any] | None, name: str) -> str:
    """Return a figure as the tables show it: above ten seconds in seconds, a dash where there is none."""
    value = None if figure is None else figure[name]
    if value is None:
        return "-"
    return f"{value:.0f}" if value < 10_000 else f"{value / 1000:.1f}s"


def or_dash(value: float | None, form: str, factor: float = 1.0) -> str:
    """Return a number in a form, a dash where there is none."""
    return "-" if value is None else form.format(value * factor)


def versus(level: dict[str, Any]) -> str:
    """Return the difference from one stream at a time, `same` where every text is."""
    paired, differing = level["paired"], level["differing"]
    if differing["compared"] and not differing["different"] and not paired["difference"]:
        return "same"
    return f"{100 * paired['difference']:+.1f}"


# What the cell of a column holds, limits and S/D/I left out: the script gives ranges for these.
COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "live": lambda m: str(m["live"]),
    "held": lambda m: f"{m['streams']['held']:g}",
    "refused": lambda m: str(m["streams"]["refused"]),
    "failed": lambda m: str(m["streams"]["failed"]),
    "WER % (95 %)": lambda m: f"{100 * m['wer']['rate']:.1f}",
    "vs 1": versus,
    "final p50/p95": lambda m: f"{ms(m['final'], 'p50_ms')}/{ms(m['final'], 'p95_ms')}",
    "TTFT": lambda m: ms(m["ttft"], "p50_ms"),
    "late": lambda m: f"{100 * m['late']['share']:.1f}%",
    "CPU": lambda m: or_dash(m["server"].get("cpu_cores"), "{:.0f}%", 100),
    "CER %": lambda m: f"{100 * m['cer']['rate']:.1f}",
    "S/D/I": lambda _: "",
    "empty/cut": lambda m: f"{m['empty']}/{m['truncated']}",
    "differ": lambda m: f"{m['differing']['different']}/{m['differing']['compared']}",
    "chunk p95": lambda m: ms(m["chunk"], "p95_ms"),
    "finalize": lambda m: ms(m["finalize"], "p50_ms"),
    "word (heard)": lambda m: f"{ms(m['emission'], 'p50_ms')} ({100 * m['emission']['coverage']:.0f}%)",
    "UPWR": lambda m: f"{m['upwr']['upwr']:.2f}",
    "MB": lambda m: or_dash(m["server"].get("peak_rss_bytes"), "{:,.0f}", 1e-6),
    "connect": lambda m: ms(m["connect"], "p50_ms"),
    "unconnected": lambda m: str(m["streams"]["unconnected"]),
    "TTFT raw": lambda m: ms(m["ttft_from_start"], "p50_ms"),
    "TTFT p95": lambda m: ms(m["ttft"], "p95_ms"),
    "drift ms/s": lambda m: or_dash(m["drift"]["ms_per_s"], "{:.1f}"),
    "headroom": lambda m: or_dash(m["server"]["headroom"], "{:.1f}"),
    "queue": lambda m: or_dash(m["server"]["queue_wait_mean_ms"], "{:.0f}"),
    "step": lambda m: or_dash(m["server"]["step_mean_ms"], "{:.1f}"),
    "RTFx": lambda m: or_dash(m["rtfx"], "{:.1f}"),
    "VRAM": lambda _: "-",
    "GPU": lambda _: "-",
}
LEFT_OUT = r"\s*\([-0-9.]+(?: to |-)[-0-9.]+\)|^\d+/\d+/\d+$|(?<=\d)\*$"
HEADING = r" *live +(held|CER %|connect|CPU) "
VERDICT = r" (void|fails|ok|\?)$"


def names_of(heading: str) -> list[tuple[str, int]]:
    """Return the columns of a heading, each with the place of its right edge; fails for one that is not known."""
    found, place = [], 0
    while heading[place:].strip():
        place += len(heading[place:]) - len(heading[place:].lstrip())
        name = max((name for name in COLUMNS if heading.startswith(name, place)), key=len, default="")
        assert name, f"nobody computes again what stands below {heading[place:]}"
        place += len(name)
        found.append((name, place))
    return found


def printed_cells(output: str) -> Iterator[tuple[str, str, str]]:
    """Yield level, column and text of every cell of the paced rows of the tables."""
    for block in output.split("\n\n"):
        lines = [line for line in block.splitlines() if line.strip()]
        start = next((n for n, line in enumerate(lines) if re.match(HEADING, line)), None)
        if start is None:
            continue
        names = names_of(lines[start])
        for line in takewhile(lambda line: re.match(r" *\d+u? ", line), lines[start + 1 :]):
            if re.match(r" *\d+u ", line):
                continue
            row, edge = re.sub(VERDICT, "", line), 0
            for name, after in names:
                end = len(row) if name == names[-1][0] else after
                yield line.split()[0], name, re.sub(LEFT_OUT, "", row[edge:end].strip())
                edge = end


def test_the_script_imports_nothing_but_the_standard_library() -> None:
    imported = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            imported.add(str(node.module).partition(".")[0])
    assert imported <= sys.stdlib_module_names


def test_every_number_of_a_sweep_is_computed_again(curve: Planted) -> None:
    check(curve.run)


def test_every_number_of_joined_streams_is_computed_again(joined: Planted) -> None:
    check(joined.run)


def check_printed(run: Run) -> None:
    """Fail when a cell of the tables is not what the script computes."""
    again = {str(level["live"]): level for level in recomputed(run)["levels"] if level["speed"] is not None}
    cells = list(printed_cells(run.output))
    assert {name for _, name, _ in cells} >= {"WER % (95 %)", "CER %", "connect", "RTFx"}
    for live, name, text in cells:
        wanted = COLUMNS[name](again[live])
        assert text == wanted or (text, wanted) == ("", "-"), f"{name} at {live} live"


def test_every_number_in_the_printed_tables_is_computed_again(curve: Planted) -> None:
    check_printed(curve.run)


def test_the_parts_of_the_time_to_first_token_are_computed_again(curve: Planted) -> None:
    printed = " ".join(curve.run.output.split())
    for level in recomputed(curve.run)["levels"]:
        if level["speed"] is not None:
            told = printed.partition(f"TTFT at {level['live']} live, median ms: ")[2]
            names = ("speech", "client", "network", "event_loop", "tick_wait", "queue", "compute")
            parts = level["ttft_parts"]
            if parts["speech_ms"] is None:
                assert not told
                continue
            assert told.startswith(", ".join(f"{name.replace('_', ' ')} {parts[f'{name}_ms']:.1f}" for name in names))


def test_every_number_of_our_own_server_is_computed_again(null: Run) -> None:
    check(null)
    check_printed(null)


def test_what_our_own_server_counts_is_among_them(null: Run) -> None:
    last = null.info["levels"][-1]["server"]
    for name in ("cpu_cores", "peak_rss_bytes", "queue_wait_mean_ms", "step_mean_ms", "duty", "headroom"):
        assert last[name] > 0, name
