"""The figures of a profile's timed passes, computed from its events alone, so that anyone can compute them again.

A step is one chunk of live streams, or one file. `compute-TTFT` is the time of an unpaced loop from opening a stream to
the end of the first step after which it has words: it holds no waiting for audio, so it is no latency that a speaker
sees. RTF is the time of all steps of a stream over its audio; `padded` takes the audio as rounded up to whole chunks.
Streams in lockstep share their steps, so that the RTF of each is that of all of them together.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.bench.drift import pooled_slope
from auricle.bench.live.latencies import MS_PER_S, NEVER, distribution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

Event = dict[str, Any]
WHOLE = "step"
REST = "in no stage"
SPREAD = (10, 50, 90)
"""Percentiles of the curve of chunk latency over stream time."""


@dataclass(slots=True)
class Play:
    """One utterance played once: its steps in order, and what came of it."""

    played: Event
    steps: list[Event] = field(default_factory=list)
    padded_s: float | None = None

    @property
    def name(self) -> str:
        """The utterance."""
        return str(self.played["id"])

    @property
    def rtf(self) -> float | None:
        """Processing time over audio time; None for audio without length."""
        return self.busy_s / self.played["audio_s"] if self.played["audio_s"] else None

    @property
    def rtf_padded(self) -> float | None:
        """The same over audio in whole chunks; None of files."""
        return None if self.padded_s is None else self.busy_s / self.padded_s

    @property
    def busy_s(self) -> float:
        """The time of its steps."""
        return sum(float(step["step_s"]) for step in self.steps)

    def first_words(self) -> tuple[float, float]:
        """Return compute-TTFT, and the audio heard by then, in seconds; NEVER where nothing was."""
        spent_s, heard_s = float(self.played["open_s"]), 0.0
        for step in self.steps:
            place = step["ids"].index(self.name)
            spent_s += step["step_s"]
            heard_s += step["fed_s"][place]
            if step["words"][place]:
                return spent_s, heard_s
        return NEVER, NEVER

    def line(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the ends of its chunks in stream time in seconds, and their latencies in ms, each `(chunks,)`."""
        fed_s = [step["fed_s"][step["ids"].index(self.name)] for step in self.steps]
        return np.cumsum(fed_s), np.array([step["step_s"] * MS_PER_S for step in self.steps])


def components(events: Iterable[Event], settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the summary of the timed passes; None where not one utterance was played to its end."""
    loaded, plays, failed = read(events)
    if loaded is None or not plays:
        return None
    steps = _steps(plays)
    audio_s = sum(play.played["audio_s"] for play in plays)
    busy_s = sum(step["step_s"] for step in steps)
    by_name = _by_name(plays)
    texts = [{play.played["text"] for play in same} for same in by_name.values()]
    return {
        "info": loaded["info"],
        "load_s": loaded["load_s"],
        "live": loaded["live"],
        "chunk_ms": loaded["chunk_ms"],
        "streams": settings["streams"],
        "runs": settings["runs"],
        "warmup": settings["warmup"],
        "files": len(by_name),
        "audio_s": audio_s / settings["runs"],
        "rtfx": audio_s / busy_s if busy_s else None,
        "components": list(_components(steps, _blocks(plays, steps))),
        "ttft": _ttft(plays, len(by_name)),
        "rtf": _rtf(by_name),
        "chunks": _chunks(plays, by_name, settings["seed"]) if loaded["live"] else None,
        "texts_repeat": all(len(said) == 1 for said in texts),
        "failures": len({event["id"] for event in failed}),
        "errors": sorted({event["error"] for event in failed if event["error"]}),
        "rows": [_row(name, same) for name, same in by_name.items()],
    }


def read(events: Iterable[Event]) -> tuple[Event | None, list[Play], list[Event]]:
    """Return what was loaded, the utterances of the timed passes with their steps, and what failed there."""
    loaded: Event | None = None
    steps: dict[tuple[int, int, str], list[Event]] = defaultdict(list)
    plays, failed = [], []
    for event in events:
        if event["event"] == "loaded":
            loaded = event
        elif event.get("phase") != "run":
            continue
        elif event["event"] == "step":
            for name in event["ids"]:
                steps[event["run"], event["turn"], name].append(event)
        elif event["event"] == "played":
            own = steps.pop((event["run"], event["turn"], event["id"]), [])
            if event["text"] is None:
                failed.append(event)
            else:
                plays.append(Play(event, own, _padded_s(loaded or {}, own)))
    return loaded, plays, failed


def durations(events: Iterable[Event]) -> dict[str, list[float]]:
    """Return the times of each stage, of what is in none and of whole steps, in ms, over the steps of timed passes."""
    return _durations(_steps(read(events)[1]))


def _padded_s(loaded: Mapping[str, Any], steps: Sequence[Event]) -> float | None:
    """Return the audio of a stream, rounded up to whole chunks."""
    if not loaded.get("live") or not steps:
        return None
    return float(len(steps) * loaded["chunk_ms"] / MS_PER_S - loaded["first_short_s"])


def _steps(plays: Iterable[Play]) -> list[Event]:
    """Return the steps of all, each once, though several streams may share it."""
    return list({id(step): step for play in plays for step in play.steps}.values())


def _by_name(plays: Iterable[Play]) -> dict[str, list[Play]]:
    found: dict[str, list[Play]] = defaultdict(list)
    for play in plays:
        found[play.name].append(play)
    return found


def _blocks(plays: Sequence[Play], steps: Sequence[Event]) -> int:
    """Return how many independent observations the steps make: turns, or seconds of the clock where those are more."""
    turns = {(play.played["run"], play.played["turn"], play.name) for play in plays}
    return max(len(turns), len({int(step["t_s"]) for step in steps}))


def _durations(steps: Iterable[Event]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for step in steps:
        for stage, stage_s in step["stages_s"].items():
            found[stage].append(stage_s * MS_PER_S)
        rest_s = step["lanes"] * step["step_s"] - sum(step["stages_s"].values())
        found[REST].append(rest_s * MS_PER_S)
        found[WHOLE].append(step["step_s"] * MS_PER_S)
    return {name: found[name] for name in (*(n for n in found if n not in {REST, WHOLE}), REST, WHOLE) if name in found}


def _components(steps: Sequence[Event], blocks: int) -> Iterator[dict[str, Any]]:
    """Yield the latencies of every component, and its share of the time of all steps times lanes."""
    available_ms = MS_PER_S * sum(step["lanes"] * step["step_s"] for step in steps)
    for name, values in _durations(steps).items():
        yield {
            "stage": name,
            "share": None if name == WHOLE or not available_ms else sum(values) / available_ms,
            "mean_ms": mean(values),
            **distribution([value / MS_PER_S for value in values], blocks),
        }


def _ttft(plays: Sequence[Play], files: int) -> dict[str, Any]:
    """Return compute-TTFT over all plays; the same utterance again is not an independent observation."""
    first = [play.first_words() for play in plays]
    heard = [heard_s for _, heard_s in first if heard_s != NEVER]
    values = distribution([spent_s for spent_s, _ in first], files)
    came = [spent_s * MS_PER_S for spent_s, _ in first if spent_s != NEVER]
    return values | {"min_ms": min(came, default=None), "median_audio_s": median(heard) if heard else None}


def _rtf(by_name: Mapping[str, Sequence[Play]]) -> dict[str, Any]:
    """Return the RTF of files, medians over passes: spread, how many exceed one, and the same with padding."""
    rows = [_row(name, plays) for name, plays in by_name.items()]
    found = _spread([row["rtf"] for row in rows if row["rtf"] is not None])
    once = sum(any((play.rtf or 0.0) > 1 for play in plays) for plays in by_name.values())
    padded = [row["rtf_padded"] for row in rows if row["rtf_padded"] is not None]
    return found | {"over_1_in_any_run": once, "padded": _spread(padded) if padded else None}


def _spread(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"files": 0, "median": None, "min": None, "max": None, "over_1": 0}
    return {
        "files": len(values),
        "median": median(values),
        "min": min(values),
        "max": max(values),
        "over_1": sum(value > 1 for value in values),
    }


def _row(name: str, plays: Sequence[Play]) -> dict[str, Any]:
    """Return the figures of one utterance, medians over the passes."""
    rtf = [play.rtf for play in plays if play.rtf is not None]
    padded = [play.rtf_padded for play in plays if play.rtf_padded is not None]
    first = median(play.first_words()[0] for play in plays)
    return {
        "id": name,
        "audio_s": plays[0].played["audio_s"],
        "steps": len(plays[0].steps),
        "busy_ms": MS_PER_S * median(play.busy_s for play in plays),
        "ttft_ms": None if first == NEVER else MS_PER_S * first,
        "rtf": median(rtf) if rtf else None,
        "rtf_padded": median(padded) if padded else None,
        "text": plays[0].played["text"],
    }


def _chunks(plays: Sequence[Play], by_name: Mapping[str, Sequence[Play]], seed: int) -> dict[str, Any]:
    """Return first chunks against those that follow, the last, the drift, and the curve over stream time.

    Drift and steady state leave out the first chunk and the last, which are other work.
    """
    lines = {name: [play.line() for play in same] for name, same in by_name.items()}
    steady = [(at_s[1:-1], took_ms[1:-1]) for same in lines.values() for at_s, took_ms in same]
    first = [float(took_ms[0]) for same in lines.values() for _, took_ms in same if len(took_ms)]
    last = [float(took_ms[-1]) for same in lines.values() for _, took_ms in same if len(took_ms) > 1]
    middle = [float(value) for _, took_ms in steady for value in took_ms]
    blocks = _blocks(plays, _steps(plays))
    found = {"first": first, "steady": middle, "last": last}
    return {
        **{name: distribution([value / MS_PER_S for value in each], blocks) for name, each in found.items()},
        "first_over_steady": median(first) / median(middle) if first and middle and median(middle) else None,
        "drift": pooled_slope(map(_mean_line, _inner(lines)), seed),
        "curve": list(_curve(lines.values())),
    }


def _inner(lines: Mapping[str, Sequence[tuple[Any, Any]]]) -> Iterator[list[tuple[Any, Any]]]:
    for same in lines.values():
        yield [(at_s[1:-1], took_ms[1:-1]) for at_s, took_ms in same]


def _mean_line(same: Sequence[tuple[Any, Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean latencies of one utterance over its passes, which are no streams of their own."""
    return same[0][0], np.mean([took_ms for _, took_ms in same], axis=0)


def _curve(lines: Iterable[Sequence[tuple[Any, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield percentiles of the latency of the n-th chunk over all plays that have one, and where it ends at most."""
    plays = [line for same in lines for line in same]
    longest = max((len(at_s) for at_s, _ in plays), default=0)
    for index in range(longest):
        reached = [(at_s[index], took_ms[index]) for at_s, took_ms in plays if index < len(at_s)]
        values = [float(took_ms) for _, took_ms in reached]
        ends = {f"p{share}_ms": float(np.percentile(values, share)) for share in SPREAD}
        yield {"chunk": index, "at_s": float(max(at_s for at_s, _ in reached)), "n": len(values), **ends}


def cumulative(values: Sequence[float], points: int) -> list[tuple[float, float]]:
    """Return at most so many points of the distribution: a value, and the share of all that is no larger."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if not ordered.size:
        return []
    places = np.unique(np.linspace(0, ordered.size - 1, points).round().astype(int))
    return [(float(ordered[place]), (int(place) + 1) / ordered.size) for place in places]
