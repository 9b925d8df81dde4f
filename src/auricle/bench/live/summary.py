"""The figures of a live run, computed from its raw events alone, so that anyone can compute them again.

Only streams that count are measured; refused ones are counted and have no text and no latency. The base of the paired
difference, and of the texts that differ, is the reference of one stream at a time where it was played, no stream of it
failed, and level 1 gave the same texts, else level 1. Times are in ms, shares and rates not in per cent.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from auricle.bench.live import errors, facts, latencies
from auricle.bench.live.capacity import replay
from auricle.bench.live.judging import judge
from auricle.bench.live.reading import read
from auricle.bench.live.scoring import Normalisers, ScoredStream
from auricle.bench.live.slo import slo_of
from auricle.bench.live.split import first_token_parts
from auricle.bench.live.stability import upwr

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auricle.bench.live.capacity import Answer
    from auricle.bench.live.reading import Level, Recording
    from auricle.bench.live.slo import Verdict

Event = dict[str, Any]
MS_PER_S = 1000.0
DEFAULT_MARGIN_POINTS = 0.5


@dataclass(slots=True)
class _Scored:
    """A level with its streams scored; `own` is its summary so far."""

    level: Level
    streams: list[ScoredStream]
    tallies: dict[str, errors.Tally] = field(init=False)

    def __post_init__(self) -> None:
        self.tallies = errors.tally(self.streams)


def summarise(events: Iterable[Event], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `record` says of run.json: `arms`, `levels`, `reference`, `capacity` and `certificate`."""
    recording = read(events)
    scored = _scored(recording, settings)
    levels: list[dict[str, Any]] = []
    references: dict[str, Any] = {}
    capacities: dict[str, Any] = {}
    for arm in recording.arms:
        own = [one for one in scored if one.level.event["arm"] == arm["arm"]]
        reference, base, base_name = _base(own)
        references[arm["arm"]] = reference
        summaries = [_level(one, base, base_name, settings) for one in own]
        levels += summaries
        capacities[arm["arm"]] = _capacity(summaries, settings)
    return {
        "arms": [
            {"name": arm["arm"], **{k: arm.get(k) for k in ("spawned", "server_cpus", "says", "lookahead_ms")}}
            for arm in recording.arms
        ],
        "levels": levels,
        "reference": references,
        "capacity": capacities,
        "certificate": certificate(levels),
    }


def _scored(recording: Recording, settings: Mapping[str, Any]) -> list[_Scored]:
    normalisers = Normalisers(settings["normaliser"])
    return [
        _Scored(level, [ScoredStream(stream, normalisers) for stream in level.admitted]) for level in recording.levels
    ]


def _capacity(levels: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the search answers to its probes, judged anew; None where it was not asked for or not finished."""
    if settings["capacity_from"] is None:
        return None
    found = replay(settings["capacity_from"], [answer(level) for level in levels if level["phase"] == "probe"])
    return None if found is None else asdict(found)


def answer(level: Mapping[str, Any]) -> Answer:
    """Return what a probe answers: its verdict, or that its client was not on time."""
    if level["client"]["void"]:
        return "void"
    verdict: Verdict = level["slo"]["verdict"]
    return verdict


def judged(events: Iterable[Event], settings: Mapping[str, Any]) -> Answer:
    """Return what the last level of these events answers as a probe; they are of one arm, its base among them."""
    scored = _scored(read(events), settings)
    _, base, base_name = _base(scored)
    return answer(_level(scored[-1], base, base_name, settings))


def headline(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return the few figures that sum the run up, for listings."""
    found = {}
    for arm in summary["arms"]:
        own = [one for one in summary["levels"] if one["arm"] == arm["name"] and one["phase"] == "level"]
        if own and own[-1]["wer"] is not None:
            found[arm["name"]] = f"{own[-1]['live']:g} live: WER {100 * own[-1]['wer']['rate']:.1f} %"
    return found


def certificate(levels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the worst of the client over the paced levels; `void` names each level that is not to be believed.

    A void probe is none of them when another probe of as many streams is not void: no figure rests on it.
    """
    sound = {(one["arm"], one["live"]) for one in levels if one["phase"] == "probe" and not one["client"]["void"]}
    paced = [
        level
        for level in levels
        if level["speed"] is not None
        and (level["phase"] != "probe" or (level["arm"], level["live"]) not in sound or not level["client"]["void"])
    ]
    told = [level["client"] for level in paced]

    def worst(name: str) -> float | None:
        return max((one[name] for one in told if one[name] is not None), default=None)

    return {
        "late_p99_ms": worst("late_p99_ms"),
        "late_max_ms": worst("late_max_ms"),
        "cpu": worst("cpu"),
        "limit": worst("limit"),
        "void": [f"{level['live']} live: {reason}" for level in paced for reason in level["client"]["void"]],
    }


def _base(own: Sequence[_Scored]) -> tuple[dict[str, Any] | None, _Scored | None, str | None]:
    """Return how the reference fared, and the base of the differences with its name."""
    reference = next((one for one in own if one.level.event["phase"] == "reference"), None)
    single = next(
        (one for one in own if one.level.event["phase"] != "reference" and one.level.event["live"] == 1), None
    )
    if reference is None:
        return None, single, None if single is None else "level 1"
    found: dict[str, Any] = {
        "streams": len(reference.streams),
        "failed": sum(one.stream.text is None for one in reference.streams),
        "checked": None,
    }
    if single is None:
        return (found, None, None) if found["failed"] else (found, reference, "reference")
    check = errors.differing(errors.texts(reference.streams), single.streams)
    found["checked"] = check
    if check["different"] or found["failed"]:
        return found, single, "level 1"
    return found, reference, "reference"


def _level(one: _Scored, base: _Scored | None, base_name: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    level, event, seed = one.level, one.level.event, settings["seed"]
    margin = slo_of(settings).wer_margin_points or DEFAULT_MARGIN_POINTS
    figures: dict[str, Any] = {
        **{name: event[name] for name in ("level", "arm", "phase", "live", "per_s", "speed")},
        "seconds": None if event["counted_until_s"] is None else event["counted_until_s"] - event["began_s"],
        "streams": facts.outcomes(level),
        "wer": errors.rate(one.tallies, "words", seed),
        "cer": errors.rate(one.tallies, "characters", seed),
        **errors.losses(one.streams),
        **facts.throughput(level),
        "server": facts.server(level),
        "client": facts.client(level),
        "base": base_name,
        "paired": None,
        "differing": None,
    }
    if base is not None and base is not one:
        figures["paired"] = errors.paired(base.tallies, one.tallies, margin, seed)
        figures["differing"] = errors.differing(errors.texts(base.streams), one.streams)
    if event["speed"] is not None:
        figures["slo"] = judge(slo_of(settings), one.streams, figures["streams"], figures["paired"], seed)
    return figures | _times(one, settings)


def _times(one: _Scored, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the latencies and the stability of a paced level; of an unpaced one only the time to connect."""
    admitted = one.level.admitted
    found: dict[str, Any] = {"connect": latencies.connect(admitted), "upwr": upwr(admitted)}
    if one.level.event["speed"] is None:
        return found
    return found | {
        "ttft": latencies.first_token(admitted, from_onset=True),
        "ttft_from_start": latencies.first_token(admitted, from_onset=False),
        "ttft_parts": first_token_parts(admitted),
        "final": latencies.final(one.streams),
        "finalize": latencies.finalize(admitted),
        "emission": latencies.emission(one.streams),
        **latencies.chunk_figures(admitted, slo_of(settings).late_ms / MS_PER_S, settings["seed"]),
    }
