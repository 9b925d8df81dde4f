"""What a sweep comes to, in a few lines: what holds up to which load, and what breaks from which on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auricle.bench.live.slo import slo_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BEHIND_MS_PER_S = 5.0
"""A stream whose chunks come so much later with every second falls behind: 0.5 % slower than speech."""
NAMES = {"final": "final latency", "ttft": "TTFT", "late": "late chunks", "wer": "WER", "refused": "refusals"}


def falls_behind(level: Mapping[str, Any]) -> bool:
    """Tell whether latency surely grows while streams last: the lower limit of the drift is above the bound."""
    drift = level.get("drift")
    return drift is not None and drift["low"] is not None and drift["low"] > BEHIND_MS_PER_S


def is_same(level: Mapping[str, Any]) -> bool:
    """Tell whether every stream that was let in completed with the very text of one stream at a time."""
    found = level["differing"]
    lost = level["streams"]["failed"] + level["streams"]["unconnected"]
    return bool(found and found["compared"] and not found["different"] and not lost)


def mark(level: Mapping[str, Any]) -> str:
    """Return what a row of the table ends with."""
    if "slo" not in level:
        return ""
    if level["client"]["void"]:
        return "void"
    return {"pass": "ok", "fail": "fails", "undecided": "?"}[level["slo"]["verdict"]]


def verdicts(levels: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines on the levels of one arm; the probes of a search are summed up by its answer."""
    yield f"Bounds: {slo_of(settings)}."
    paced = sorted((level for level in levels if level["phase"] == "level"), key=lambda level: level["live"])
    failing = [level for level in paced if level["slo"]["verdict"] == "fail"]
    held = [level for level in paced if level["slo"]["verdict"] == "pass"]
    open_ = [level for level in paced if level["slo"]["verdict"] == "undecided"]
    if same := [level for level in paced if is_same(level)]:
        yield f"The texts are those of one stream, to the letter, at {_list(same)} live."
    if held:
        yield f"Held at {_list(held)} live."
    if open_:
        yield f"Not enough seen at {_list(open_)} live ({_open(open_)}): give it more --seconds."
    for level in failing:
        broken = [NAMES[name] for name, verdict in level["slo"]["criteria"].items() if verdict == "fail"]
        yield f"Broken at {level['live']} live: {', '.join(broken)}."
    if behind := [level for level in paced if falls_behind(level)]:
        yield f"Falls behind at {_list(behind)} live: latency grows for as long as a stream lasts."
    judged = {name for level in paced for name, verdict in level["slo"]["criteria"].items() if verdict is not None}
    if hidden := sorted({name for level in paced for name in level["slo"]["criteria"]} - judged):
        yield f"Not observable on this dialect: {', '.join(NAMES[name] for name in hidden)}."


def _open(levels: Sequence[Mapping[str, Any]]) -> str:
    names = {name for level in levels for name, verdict in level["slo"]["criteria"].items() if verdict == "undecided"}
    return ", ".join(NAMES[name] for name in sorted(names))


def _list(levels: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(str(level["live"]) for level in levels)
