"""What else a level shows: who was let in, what the server took, and whether the client was fit to measure."""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.client.dialects import HTTP
from auricle.score.timing import at_most, percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.bench.live.reading import Level, Stream

MS_PER_S = 1000.0
HELD_POINTS = 200
RAMP_SHARE = 0.25
"""The first part of a level, in which its streams start, is left out of how many were held."""
LATE_P99_MS = 20.0
LATE_SHARE, CHANCE = 0.01, 0.01
"""A client is late when so many packets are that a rate of 1 % late would show them in 1 % of such levels at most."""
ROUNDING = 1e-12
CLIENT_CPU = 0.8
"""Share of one core above which a load process, being of one thread, cannot be sure to be on time."""


def outcomes(level: Level) -> dict[str, Any]:
    """Return how many counted streams were tried, held at once (median), and what became of them."""
    counted = level.counted
    ends = {name: sum(stream.outcome == name for stream in counted) for name in ("complete", "refused")}
    ends["unconnected"] = sum(stream.outcome not in ends and stream.event["ready_s"] is None for stream in counted)
    return {
        "tried": len(counted),
        "held": held(level),
        **ends,
        "failed": len(counted) - sum(ends.values()),
        "skipped": level.event["skipped"],
        "errors": sorted({stream.event["error"] for stream in level.admitted if stream.event["error"]}),
        "refusals": sorted({stream.event["error"] for stream in counted if stream.outcome == "refused"}),
    }


def held(level: Level) -> float | None:
    """Return how many streams were open and not refused at once: the median over the level after its ramp."""
    event = level.event
    if event["counted_until_s"] is None:
        return None
    begin_s, end_s = event["began_s"], event["counted_until_s"]
    moments = np.linspace(begin_s + RAMP_SHARE * (end_s - begin_s), end_s, HELD_POINTS)
    admitted = [s.event for s in level.streams if s.outcome != "refused" and s.event["ready_s"] is not None]
    opened = np.sort([told["ready_s"] for told in admitted])
    closed = np.sort([told["closed_s"] for told in admitted])
    live = np.searchsorted(opened, moments, "right") - np.searchsorted(closed, moments, "right")
    return float(np.median(live))


def throughput(level: Level) -> dict[str, Any]:
    """Return audio seconds and wall seconds of the whole load, and their ratio RTFx.

    The time is that from the first to the last of the complete streams that count. In it the audio counts of all
    streams that did not fail, those too that only keep up the load: what was sent of them.
    """
    complete = [stream.event for stream in level.counted if stream.outcome == "complete"]
    if not complete:
        return {"audio_s": 0.0, "wall_s": None, "rtfx": None}
    until_s = max(told["closed_s"] for told in complete)
    wall_s = until_s - min(told["connect_s"] for told in complete)
    audio_s = sum(_carried_s(stream, until_s) for stream in level.streams)
    return {"audio_s": audio_s, "wall_s": wall_s, "rtfx": audio_s / wall_s}


def _carried_s(stream: Stream, until_s: float) -> float:
    """Return how much audio a stream had sent by then; 0 for one that failed, or an upload not answered by then."""
    told = stream.event
    if stream.outcome == "complete" and told["closed_s"] <= until_s:
        return float(told["samples"] / told["rate"])
    if stream.outcome != "complete" and (stream.counted or stream.outcome != "cancelled"):
        return 0.0
    sent = 0 if told["dialect"] == HTTP else bisect.bisect_right(told["sent_s"], until_s)
    return float(min(told["samples"], sent * told["chunk"]) / told["rate"])


def server(level: Level) -> dict[str, Any]:
    """Return the server's CPU, memory and GPU over the level, and what its own counters say; None where unknown."""
    usage, gpus = level.usage, []
    if usage is not None:
        gpus = [gpu for gpu in usage["gpus"] if gpu["peak_memory_used_bytes"] is not None]
    cpu_s = None if usage is None else usage["cpu_children_s"]
    return {
        "cpu_cores": None if usage is None or cpu_s is None else cpu_s / usage["duration_s"],
        "peak_rss_bytes": None if usage is None else usage["peak_rss_children_bytes"],
        "peak_pss_bytes": None if usage is None else usage["peak_pss_children_bytes"],
        "peak_device_bytes": max((gpu["peak_memory_used_bytes"] for gpu in gpus), default=None),
        "mean_gpu_utilisation_percent": max(
            (gpu["mean_utilisation_percent"] for gpu in gpus if gpu["mean_utilisation_percent"] is not None),
            default=None,
        ),
        **_counters(level),
        "throttled_share": None
        if level.throttle is None or not level.throttle["periods"]
        else level.throttle["throttled"] / level.throttle["periods"],
        "throttled_s": None if level.throttle is None else level.throttle["throttled_s"],
    }


def _counters(level: Level) -> dict[str, Any]:
    begin, end = level.scrapes.get("begin"), level.scrapes.get("end")

    def grown(name: str) -> float | None:
        if begin is None or end is None or name not in end:
            return None
        return end[name] - begin.get(name, 0.0)

    def mean_ms(name: str) -> float | None:
        total_s, count = grown(f"{name}_sum"), grown(f"{name}_count")
        return None if total_s is None or not count else MS_PER_S * total_s / count

    step_s, audio_s = grown("auricle_step_seconds_sum"), grown("auricle_audio_out_seconds_total{kind=live}")
    live = held(level)
    wall_s = level.event["ended_s"] - level.event["began_s"]
    return {
        "queue_wait_mean_ms": mean_ms("auricle_queue_wait_seconds"),
        "step_mean_ms": mean_ms("auricle_step_seconds"),
        "step_streams_mean": (mean_ms("auricle_step_streams") or 0.0) / MS_PER_S or None,
        "loop_lag_mean_ms": mean_ms("auricle_loop_lag_seconds"),
        "duty": None if step_s is None else step_s / wall_s,
        "headroom": None if not step_s or audio_s is None or not live else audio_s / step_s / live,
    }


def send_lateness_ms(streams: Sequence[Stream]) -> list[float]:
    """Return how late each paced chunk was sent; chunks that the server held back by not reading are left out."""
    late: list[float] = []
    for stream in streams:
        told = stream.event
        if told["speed"] is not None:
            late += lateness_ms(told["due_s"], told["sent_s"], told["held"])
    return late


def lateness_ms(due_s: Sequence[float], sent_s: Sequence[float], held: Sequence[int]) -> list[float]:
    """Return it for the chunks of one stream."""
    held_back = set(held)
    return [
        MS_PER_S * (sent - due)
        for number, (due, sent) in enumerate(zip(due_s, sent_s, strict=True))
        if number not in held_back
    ]


def too_many_late(late: int, of: int) -> bool:
    """Tell whether P(B >= late) <= 1 %, B binomial (of, 1 %)."""
    if late <= LATE_SHARE * of:
        return False
    enough = math.ceil(LATE_SHARE * of + 10 * math.sqrt(LATE_SHARE * of)) + 10  # beyond any doubt, and no long sum
    return 1 - at_most(min(late, enough) - 1, of, LATE_SHARE) <= CHANCE + ROUNDING


def client(level: Level) -> dict[str, Any]:
    """Return how well the client kept its schedule, and why the level is void, if it is.

    `late` counts the chunks that were sent more than 20 ms late. `cpu` is that of the busiest process.
    """
    late_ms = send_lateness_ms(level.streams)
    late = sum(value > LATE_P99_MS for value in late_ms)
    cpu = max((told["cpu_s"] / told["wall_s"] for told in level.clients), default=None)
    limit = max((told["limit"] for told in level.clients if told["limit"] is not None), default=None)
    most_live = max((told["most_live"] for told in level.clients), default=0)
    void = []
    if limit is not None and most_live > limit:
        void.append(f"a load process played {most_live} streams, but its own limit is {limit}")
    if too_many_late(late, len(late_ms)):
        allowed = f"too many for {100 * LATE_SHARE:g} %"
        void.append(f"{late} of {len(late_ms)} packets were sent more than {LATE_P99_MS:g} ms late, {allowed}")
    if cpu is not None and cpu > CLIENT_CPU:
        void.append(f"a load process took {100 * cpu:.0f} % of a core, more than {100 * CLIENT_CPU:.0f} %")
    return {
        "late_p50_ms": percentile(late_ms, 0.5),
        "late_p99_ms": percentile(late_ms, 0.99),
        "late_max_ms": max(late_ms, default=None),
        "late": late,
        "chunks": len(late_ms),
        "held": sum(len(stream.event["held"]) for stream in level.streams),
        "cpu": cpu,
        "processes": len(level.clients),
        "most_live": sum(told["most_live"] for told in level.clients),
        "limit": limit,
        "loop": level.clients[0]["loop"] if level.clients else None,
        "void": void,
    }
