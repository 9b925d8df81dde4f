"""The raw observations behind the figures of a live run, level by level."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from auricle.bench.live import latencies
from auricle.bench.live.reading import read
from auricle.bench.live.scoring import Normalisers, ScoredStream
from auricle.bench.live.split import PARTS, parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auricle.bench.live.reading import Level

Event = dict[str, Any]
MS_PER_S = 1000.0


def scored_levels(
    events: Sequence[Event], arm: str, settings: Mapping[str, Any]
) -> list[tuple[Level, list[ScoredStream]]]:
    """Return the paced levels of an arm with their admitted streams scored, by the number of live streams."""
    normalisers = Normalisers(settings["normaliser"])
    levels = [
        level
        for level in read(events).levels
        if level.event["arm"] == arm and level.event["phase"] == "level" and level.event["speed"] is not None
    ]
    levels.sort(key=lambda level: level.event["live"])
    return [(level, [ScoredStream(stream, normalisers) for stream in level.admitted]) for level in levels]


def latency_figures(events: Sequence[Event], arm: str, settings: Mapping[str, Any]) -> dict[str, dict[int, Any]]:
    """Return observations in ms by kind and live streams: `final`, `ttft`, `chunk`, `parts` and `over_time`.

    `parts` holds those of the time to first token by name, `over_time` chunk latencies by second of the stream.
    """
    found: dict[str, dict[int, Any]] = defaultdict(dict)
    for level, scored in scored_levels(events, arm, settings):
        live = level.event["live"]
        streams = [one.stream for one in scored]
        found["final"][live] = [MS_PER_S * value for one in scored for value in latencies.finals_of(one)]
        found["ttft"][live] = [MS_PER_S * value for value in latencies.first_tokens(streams, from_onset=True)]
        found["parts"][live] = _parts(scored)
        answered = latencies.answered(streams) or []
        found["chunk"][live] = [MS_PER_S * float(value) for _, answers in answered for value in answers]
        seconds: dict[int, list[float]] = defaultdict(list)
        for stream, answers in answered:
            told = stream.event
            for number, value in enumerate(answers):
                second = int((number + 1) * told["chunk"] / told["rate"] / told["speed"])
                seconds[second].append(MS_PER_S * float(value))
        if seconds:
            found["over_time"][live] = dict(seconds)
    return found


def _parts(scored: Sequence[ScoredStream]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in scored:
        parts = parts_of(one.stream)
        if parts is not None:
            for name in PARTS:
                found[name.replace("_", " ")].append(MS_PER_S * parts[name])
    return dict(found)
