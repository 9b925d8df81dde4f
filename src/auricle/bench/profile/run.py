"""Profiles an engine: timed passes over a corpus first, then, apart from them, a look at its operators.

Everything runs in this process, with the engine loaded once. Warm-up passes are recorded as such and counted nowhere.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from auricle.bench import environment
from auricle.bench.profile.calibrate import calibrate
from auricle.bench.profile.components import components
from auricle.bench.profile.flops import is_counted, number_of
from auricle.bench.profile.operators import operators
from auricle.bench.profile.play import LivePlayer, player
from auricle.bench.profile.record import KIND
from auricle.bench.profile.watch import MarkingTracer, unobservable, watch
from auricle.bench.records import RunFolder, read_run
from auricle.engines.loading import load
from auricle.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auricle.audio import Audio
    from auricle.bench.profile.play import Event, Player
    from auricle.bench.profile.record import Phase, ProfileSettings
    from auricle.bench.records import Run
    from auricle.corpus import Corpus, Utterance
    from auricle.engines.contract import Recognizer

WATCHED_STEPS = {True: 25, False: 3}
"""How many steps the profiler sees, of live streams or of files: operators repeat, and it slows all down."""


class Progress(Protocol):
    """Told of the audio seconds played so far, of all there are, and of what goes on."""

    def __call__(self, done_s: float, total_s: float, doing: str, /) -> None:
        """Show it."""
        ...


def run_profile(corpus: Corpus, settings: ProfileSettings, root: Path, progress: Progress) -> Run:
    """Profile an engine on a corpus and return the record, a new folder under `root`.

    An utterance that fails is told and left out. Raises what loading raises, and EngineError where all failed.
    """
    with RunFolder.create(root, KIND) as folder:
        folder.update(_head(corpus, settings))
        for utterance in corpus.utterances:
            folder.event("utterance", **_described(utterance))
        tracer = MarkingTracer()
        progress(0.0, 1.0, f"loading {settings.request.label}")
        start = time.perf_counter()
        recognizer = load(settings.request, tracer)
        try:
            _profile(recognizer, tracer, corpus, settings, folder, progress, time.perf_counter() - start)
        finally:
            recognizer.unload()
        folder.finish(_results(folder.path, settings))
    return read_run(folder.path)


def _profile(
    recognizer: Recognizer,
    tracer: MarkingTracer,
    corpus: Corpus,
    settings: ProfileSettings,
    folder: RunFolder,
    progress: Progress,
    load_s: float,
) -> None:
    wanted = {"auto": None, "live": True, "files": False}[settings.mode]
    playing = player(recognizer, tracer, live=wanted, chunk_ms=settings.chunk_ms)
    live = isinstance(playing, LivePlayer)
    folder.event(
        "loaded",
        info=_plain(recognizer),
        load_s=load_s,
        live=live,
        chunk_ms=playing.chunk_ms if isinstance(playing, LivePlayer) else None,
        first_short_s=playing.first_short_s if isinstance(playing, LivePlayer) else None,
    )
    turns = [
        corpus.utterances[start : start + settings.streams]
        for start in range(0, len(corpus.utterances), settings.streams)
    ]
    passes: list[tuple[Phase, int]] = [("warmup", number) for number in range(settings.warmup)]
    passes += [("run", number) for number in range(settings.runs)]
    total_s, done_s, heard = corpus.duration_s * len(passes), 0.0, False
    for phase, number in passes:
        for turn, utterances in enumerate(turns):
            progress(done_s, total_s, f"{phase} {number + 1} {settings.request.label}")
            for event in _play(playing, recognizer, utterances):
                heard = heard or event.get("text") is not None
                _record(folder, event, phase=phase, run=number, turn=turn)
            done_s += sum(utterance.duration_s for utterance in utterances)
    if not heard:
        raise EngineError("not one utterance was recognised to its end", settings.request.label, "see the run's events")
    if settings.operators:
        progress(done_s, total_s, f"operators {settings.request.label}")
        _look(playing, recognizer, tracer, turns, folder, WATCHED_STEPS[live])


def _play(playing: Player, recognizer: Recognizer, utterances: Sequence[Utterance]) -> Iterator[Event]:
    yield from playing.play([one.id for one in utterances], _load(recognizer, utterances))


def _load(recognizer: Recognizer, utterances: Sequence[Utterance]) -> list[Audio]:
    return [utterance.load(recognizer.info.sample_rate) for utterance in utterances]


def _look(
    playing: Player,
    recognizer: Recognizer,
    tracer: MarkingTracer,
    turns: Sequence[Sequence[Utterance]],
    folder: RunFolder,
    most_steps: int,
) -> None:
    """Play a little under torch's profiler and record what its operators did, and what the machine can do."""
    loaded = [([one.id for one in turn], _load(recognizer, turn)) for turn in turns[:most_steps]]
    steps: list[tuple[int, Event]] = []

    def work() -> None:
        for turn, group in enumerate(loaded):
            played = playing.play(*group, most_steps - len(steps))
            steps.extend((turn, event) for event in played if event["event"] == "step")

    seen = watch(tracer, lambda: list(playing.play(*loaded[0], 1)), work)
    for turn, event in steps:
        _record(folder, event, phase="operators", run=0, turn=turn)
    if seen is None:
        folder.event("unobservable", reason=unobservable(recognizer.info))
        return
    for event in seen:
        _record(folder, event)
    numbers = {
        number_of(event["name"], event["dtypes"])
        for event in seen
        if event["event"] == "operator" and is_counted(event["name"])
    }
    folder.event("calibrated", **calibrate(recognizer.info.device, filter(None, numbers)))


def _record(folder: RunFolder, event: Event, **more: object) -> None:
    fields = {name: value for name, value in event.items() if name not in {"event", "at_s"}}
    folder.event(event["event"], at_s=event.get("at_s"), **more, **fields)


def _results(path: Path, settings: ProfileSettings) -> dict[str, object]:
    """Return what the end of a run adds to its record, from the events recorded so far."""
    run = read_run(path)
    summary = summarise(run, asdict(settings))
    found = summary["components"]
    arm = {"name": settings.request.label, "info": found["info"]}
    whole = next(one for one in found["components"] if one["stage"] == "step")
    figure = (
        f"RTF {found['rtf']['median']:.3f}, step {whole['mean_ms']:.1f} ms" if found["rtf"]["files"] else "no audio"
    )
    return {"arms": [arm], "headline": {settings.request.label: figure}}


def summarise(run: Run, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the whole summary of a recorded profile: `components`, `operators`, each None where there is none."""
    settings = settings or run.info["settings"]
    return {"components": components(run.events(), settings), "operators": operators(run.events())}


def _head(corpus: Corpus, settings: ProfileSettings) -> dict[str, object]:
    return {
        "environment": environment.capture(),
        "settings": asdict(settings),
        "corpus": {
            "name": corpus.name,
            "hash": corpus.hash,
            "licence": corpus.licence,
            "utterances": len(corpus.utterances),
            "duration_s": corpus.duration_s,
            "languages": corpus.languages,
        },
    }


def _described(utterance: Utterance) -> dict[str, Any]:
    return {
        "id": utterance.id,
        "reference": utterance.text,
        "language": utterance.language,
        "speaker": utterance.speaker,
        "audio_s": utterance.duration_s,
    }


def _plain(recognizer: Recognizer) -> dict[str, Any]:
    info = asdict(recognizer.info)
    return info | {"features": sorted(info["features"])}
