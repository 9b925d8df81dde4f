"""What one side of a comparison measured: times by pass, stream or run, and errors by utterance, from raw events.

Times have keys such as `total`, `stage:encoder`, or, of live runs, `final@8` (8 live streams); errors `wer`, `cer@8`.
A file benchmark gives a time for each pass over the utterances that both sides share, a live one a median for each
stream, and anything else one value a run.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from auricle.bench.live import errors as live_errors
from auricle.bench.live import latencies
from auricle.bench.live.facts import client
from auricle.bench.live.reading import read
from auricle.bench.live.scoring import Normalisers, ScoredStream
from auricle.bench.quality import normaliser_for
from auricle.bench.summary import MS_PER_S
from auricle.errors import UsageError
from auricle.report.reading import events_of
from auricle.score.align import align

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from auricle.bench.live.reading import Stream
    from auricle.bench.records import Run

Event = dict[str, Any]
Unit = Literal["passes", "streams", "runs"]
BYTES_PER_MB = 1_000_000
RUNS_SPEAK = 4
"""From so many runs a side on, each run is one value: what differs between processes is then in the spread."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The errors of one utterance: their mean over its attempts, and the words or characters of its reference."""

    block: str
    errors: float
    length: int


@dataclass(slots=True)
class Side:
    """One side: `times` and `errors` hold an entry for each of its runs; `void` says what was not believed."""

    name: str
    kind: str
    runs: list[Run]
    arms: list[str]
    events: list[list[Event]]
    units: dict[str, Unit] = field(default_factory=dict)
    times: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, list[dict[str, Heard]]] = field(default_factory=lambda: defaultdict(list))
    void: list[str] = field(default_factory=list)

    @property
    def recorded(self) -> list[tuple[Run, str]]:
        """Its runs, each with its arm."""
        return list(zip(self.runs, self.arms, strict=True))

    def busy(self) -> Iterator[str]:
        """Yield its runs that began while other work wanted all processors: their times are not theirs alone."""
        for run in self.runs:
            cpu = run.info["environment"]["cpu"]
            load, cores = (cpu["load_average"] or [0.0])[0], cpu["usable_cores"] or cpu["logical_cores"]
            if cores and load > cores:
                yield f"{run.id} began on a busy machine (load {load:.1f} on {cores} cores): do not trust its times"

    def values(self, key: str) -> tuple[list[float], Unit]:
        """Return the values of a time and what each is of: of all runs, or the median of each where there are four."""
        by_run = self.times[key]
        if self.units[key] == "runs" or len(by_run) >= RUNS_SPEAK:
            return [median(values) for values in by_run], "runs"
        return [value for values in by_run for value in values], self.units[key]

    def heard(self, key: str) -> dict[str, Heard]:
        """Return the errors by utterance, averaged over the runs that attempted it."""
        gathered: dict[str, list[Heard]] = defaultdict(list)
        for run in self.errors[key]:
            for name, one in run.items():
                gathered[name].append(one)
        return {
            name: Heard(many[0].block, sum(one.errors for one in many) / len(many), many[0].length)
            for name, many in gathered.items()
        }

    def part(self, number: int) -> Side:
        """Return the side of one of its runs alone."""
        return Side(
            self.runs[number].id,
            self.kind,
            [self.runs[number]],
            [self.arms[number]],
            [self.events[number]],
            dict(self.units),
            defaultdict(list, {key: [runs[number]] for key, runs in self.times.items() if number < len(runs)}),
            defaultdict(list, {key: [runs[number]] for key, runs in self.errors.items() if number < len(runs)}),
        )


def open_side(runs: Sequence[tuple[Run, str | None]], name: str, known: Sequence[list[Event]] | None = None) -> Side:
    """Return a side of runs of one kind, each with an arm; raises UsageError when they differ or an arm is unclear.

    Their events are read, unless they are `known`.
    """
    kinds = {run.info["kind"] for run, _ in runs}
    if len(kinds) != 1:
        raise UsageError("runs of several kinds are not one side", name, "compare runs of one kind")
    events = [events_of(run) for run, _ in runs] if known is None else list(known)
    arms = [_arm(run, told, arm) for (run, arm), told in zip(runs, events, strict=True)]
    return Side(name, kinds.pop(), [run for run, _ in runs], arms, events)


def arms_of(events: Iterable[Event]) -> list[str]:
    """Return the arms of a run in order."""
    return list(dict.fromkeys(event["arm"] for event in events if event["event"] in {"arm", "loaded"}))


def _arm(run: Run, events: Sequence[Event], arm: str | None) -> str:
    names = arms_of(events)
    if arm is not None and arm not in names:
        raise UsageError("the run has no such arm", f"{run.id}: {arm}", f"one of {', '.join(names)}")
    if arm is None and len(names) != 1:
        raise UsageError(f"the run has {len(names)} arms", run.id, f"write {run.id}@ARM, ARM one of {', '.join(names)}")
    return arm or names[0]


def measure(sides: Sequence[Side], normaliser: str | None) -> list[str]:
    """Fill the times and errors of sides that are to be compared, over what they share; return what to beware of.

    All are scored by one normaliser, None for that of the language. Raises UsageError for sides of several kinds, or
    that share no utterance.
    """
    if len({side.kind for side in sides}) != 1:
        raise UsageError("sides of several kinds", ", ".join(side.kind for side in sides), "compare runs of one kind")
    if sides[0].kind == "live":
        for side in sides:
            _measure_live(side, normaliser)
        return [line for side in sides for line in side.void]
    everything = [_utterances(events) for side in sides for events in side.events]
    shared = set.intersection(*({(name, event["reference"]) for name, event in found.items()} for found in everything))
    if not shared:
        raise UsageError("the runs share no utterance", None, "compare runs of the same corpus")
    names = {name for name, _ in shared}
    for side in sides:
        _measure_offline(side, names, normaliser)
    most = max(len(found) for found in everything)
    return [] if len(names) == most else [f"compared over the {len(names)} utterances that all share, of {most}"]


def _utterances(events: Iterable[Event]) -> dict[str, Event]:
    return {event["id"]: event for event in events if event["event"] == "utterance"}


def _measure_offline(side: Side, names: set[str], normaliser: str | None) -> None:
    for events, arm in zip(side.events, side.arms, strict=True):
        own = [event for event in events if event.get("arm") == arm]
        passes: dict[int, list[Event]] = defaultdict(list)
        for event in own:
            if event["event"] == "batch" and event["phase"] == "run" and names.issuperset(event["ids"]):
                passes[event["run"]].append(event)
        whole = [batches for _, batches in sorted(passes.items()) if sum(len(b["ids"]) for b in batches) == len(names)]
        if not whole:
            raise UsageError("no pass of the arm is whole over what the sides share", f"{side.name}: {arm}")
        _add_times(side, own, whole)
        utterances = _utterances(events)
        texts = {name: text for batch in whole[0] for name, text in zip(batch["ids"], batch["texts"], strict=True)}
        for key, heard in _heard(utterances, texts, normaliser):
            side.errors[key].append(heard)


def _add_times(side: Side, own: Sequence[Event], whole: Sequence[Sequence[Event]]) -> None:
    found: dict[str, list[float]] = {}
    for name in ("total", "wall"):
        found[name] = [sum(batch[f"{name}_s"] for batch in batches) for batches in whole]
    stages = list(dict.fromkeys(stage for batches in whole for batch in batches for stage in batch["stages_s"]))
    for stage in stages:
        found[f"stage:{stage}"] = [sum(batch["stages_s"].get(stage, 0.0) for batch in batches) for batches in whole]
    side.units |= dict.fromkeys(found, "passes")
    once = {
        "load": [event["load_s"] for event in own if event["event"] == "loaded"],
        "first": [event["first_result_s"] for event in own if event["event"] == "first"],
        "rss": [
            max(values) / BYTES_PER_MB
            for values in [[e["peak_rss_children_bytes"] for e in own if e["event"] == "usage"]]
            if values and None not in values
        ],
    }
    side.units |= dict.fromkeys(once, "runs")
    for key, values in (found | once).items():
        if values:
            side.times[key].append(values)


def _heard(
    utterances: Mapping[str, Event], texts: Mapping[str, str | None], normaliser: str | None
) -> Iterator[tuple[str, dict[str, Heard]]]:
    words: dict[str, Heard] = {}
    characters: dict[str, Heard] = {}
    for name, text in texts.items():
        utterance = utterances[name]
        normalised = normaliser_for(normaliser, utterance["language"])
        reference, hypothesis = normalised(utterance["reference"]), normalised(text or "")
        block = utterance["speaker"] or name
        for found, one, other in (
            (words, reference.split(), hypothesis.split()),
            (characters, reference, hypothesis),
        ):
            found[name] = Heard(block, align(one, other).counts.errors, len(one))
    yield "wer", words
    yield "cer", characters


def _measure_live(side: Side, normaliser: str | None) -> None:
    normalisers = Normalisers(normaliser)
    for events, arm in zip(side.events, side.arms, strict=True):
        for level in read(events).levels:
            if level.event["arm"] != arm or level.event["phase"] != "level" or level.event["speed"] is None:
                continue
            at = f"@{level.event['live']}"
            if void := client(level)["void"]:
                side.void.append(f"{side.name} is void at {level.event['live']} live and left out there: {void[0]}")
                continue
            scored = [ScoredStream(stream, normalisers) for stream in level.admitted]
            for name, values in _latencies(scored).items():
                if values:
                    side.times[name + at].append(values)
                    side.units[name + at] = "streams"
            usage = level.usage
            if usage is not None and usage["cpu_children_s"] is not None:
                side.times["cpu" + at].append([usage["cpu_children_s"] / usage["duration_s"]])
                side.units["cpu" + at] = "runs"
            tallies = live_errors.tally(scored)
            for key, unit in (("wer", "words"), ("cer", "characters")):
                if tallies:
                    side.errors[key + at].append({name: _of(tally, unit) for name, tally in tallies.items()})


def _of(tally: live_errors.Tally, unit: str) -> Heard:
    counts = getattr(tally, unit)
    return Heard(tally.block, counts.errors / tally.attempts, counts.reference_length // tally.attempts)


def _latencies(scored: Sequence[ScoredStream]) -> dict[str, list[float]]:
    """Return the median of each stream in ms, infinite where that never came."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in scored:
        first = latencies.first_tokens([one.stream], from_onset=True)
        for name, values in (
            ("final", list(latencies.finals_of(one))),
            ("ttft", first),
            ("chunk", _chunks(one.stream)),
        ):
            if values:
                middle = median(values)
                found[name].append(middle * MS_PER_S if math.isfinite(middle) else math.inf)
    return found


def _chunks(stream: Stream) -> list[float]:
    answers = latencies.chunks_of(stream)
    return [] if answers is None else [float(value) for value in answers]
