"""The file benchmark: every arm recognises the corpus several times, the arms taking turns in balanced random order.

Each arm is a process of its own, so that its memory is its own. All that is measured goes into the run's events; the
figures are computed from those events by `auricle.bench.summary`, and can be computed again. Kinds of event:

    utterance   id, reference, language, speaker, audio_s: one for each utterance of the corpus
    loaded      arm, info (ModelInfo), load_s
    first       arm, first_result_s: from the start of loading to the first text
    batch       arm, phase (warmup, run), run, ids, audio_s, wall_s, total_s, stages_s, lanes, texts, error
    usage       arm, phase, run and the memory and CPU figures of auricle.bench.sampler over that pass; the arm's
                processes are the `children` of those figures
    sample      arm and one reading of auricle.bench.sampler
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from auricle.bench import environment, quality
from auricle.bench.arm_service import DECODE_AUDIO
from auricle.bench.arms import balanced_order
from auricle.bench.records import RunFolder, read_run
from auricle.bench.sampler import Sampler
from auricle.bench.summary import headline, summarise
from auricle.engines.worker import EXIT_GRACE_S, Worker
from auricle.errors import UsageError
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from auricle.bench.arm_service import Loaded, Timed
    from auricle.bench.records import Run
    from auricle.corpus import Corpus, Utterance
    from auricle.engines.loading import LoadRequest

SERVICE = "auricle.bench.arm_service:ArmService"
KIND = "offline"


@dataclass(frozen=True, slots=True)
class OfflineSettings:
    """How to measure; `runs` are counted after `warmup` passes, each over the whole corpus in batches."""

    arms: tuple[LoadRequest, ...]
    runs: int = 5
    warmup: int = 2
    batch_size: int = 1
    language: str | None = None
    normaliser: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("runs", 1), ("warmup", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name.replace('_', '-')} must be at least {least}", getattr(self, name))


class Progress(Protocol):
    """Told of the audio seconds recognised so far, of all there are, and of what goes on."""

    def __call__(self, done_s: float, total_s: float, doing: str, /) -> None:
        """Show it."""
        ...


class Arm:
    """One arm's process and the sampler that watches it and its descendants; a context that ends both."""

    def __init__(self, request: LoadRequest, settings: OfflineSettings, folder: RunFolder) -> None:
        self.name = request.label
        self._folder = folder
        self._start = time.perf_counter()
        self._worker = Worker(SERVICE, (request, settings.language), Tracer(), lane=self.name)
        self._sampler = Sampler(lambda: [self._worker.pid])

    def __enter__(self) -> Self:
        self._sampler.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sampler.__exit__(kind, error, trace)
        self._worker.stop(EXIT_GRACE_S if kind is None else 0.0)
        for sample in self._sampler.samples:
            self._folder.event("sample", at_s=sample.at_s, arm=self.name, **sample.fields())

    def load(self) -> None:
        """Load the model and record what was loaded."""
        loaded: Loaded = self._worker.call("load")
        self._folder.event("loaded", arm=self.name, info=loaded.info, load_s=loaded.load_s)

    def first(self, utterance: Utterance) -> None:
        """Recognise one utterance with the cold model."""
        self._worker.call("run", [utterance])
        self._folder.event("first", arm=self.name, first_result_s=time.perf_counter() - self._start)

    def run(self, batches: Sequence[Sequence[Utterance]], phase: str, number: int) -> Iterator[float]:
        """Recognise the corpus once, yielding the audio seconds of every batch when it is done."""
        start = self._sampler.mark()
        for batch in batches:
            timed: Timed = self._worker.call("run", batch)
            self._record(batch, timed, phase, number)
            yield sum(timed.audio_s)
        usage = self._sampler.window(start, self._sampler.mark())
        self._folder.event("usage", arm=self.name, phase=phase, run=number, **asdict(usage))

    def _record(self, batch: Sequence[Utterance], timed: Timed, phase: str, number: int) -> None:
        stages_s: dict[str, float] = {}
        for span in timed.stages:
            stages_s[span.stage] = stages_s.get(span.stage, 0.0) + span.duration_s
        self._folder.event(
            "batch",
            at_s=timed.start_s,
            arm=self.name,
            phase=phase,
            run=number,
            ids=[utterance.id for utterance in batch],
            audio_s=timed.audio_s,
            wall_s=timed.wall_s,
            total_s=timed.total_s,
            stages_s=stages_s,
            lanes=len({span.lane for span in timed.stages if span.stage != DECODE_AUDIO}) or 1,
            texts=timed.texts,
            error=timed.error,
        )


def run_offline(corpus: Corpus, settings: OfflineSettings, root: Path, progress: Progress) -> Run:
    """Measure every arm on the corpus and return the record, a new folder under `root`.

    An utterance that fails counts as deleted and the run goes on; an arm that cannot be loaded ends it with its error.
    An interrupted run keeps its events, and its summary where every arm finished a pass.
    """
    batches = [
        corpus.utterances[start : start + settings.batch_size]
        for start in range(0, len(corpus.utterances), settings.batch_size)
    ]
    normaliser = quality.described(settings.normaliser, corpus.languages)
    with RunFolder.create(root, KIND) as folder:
        folder.update({**_head(corpus, settings), "normaliser": normaliser})
        for utterance in corpus.utterances:
            folder.event("utterance", **_described(utterance))
        try:
            with ExitStack() as stack:
                arms = [stack.enter_context(Arm(request, settings, folder)) for request in settings.arms]
                _measure(arms, corpus, batches, settings, progress)
        except KeyboardInterrupt:
            folder.finish(_results(folder.path, settings), "interrupted", "KeyboardInterrupt")
            raise
        folder.finish(_results(folder.path, settings))
    return read_run(folder.path)


def _measure(
    arms: Sequence[Arm],
    corpus: Corpus,
    batches: Sequence[Sequence[Utterance]],
    settings: OfflineSettings,
    progress: Progress,
) -> None:
    passes = settings.warmup + settings.runs
    total_s = corpus.duration_s * passes * len(arms)
    done_s = 0.0
    for arm in arms:
        progress(done_s, total_s, f"loading {arm.name}")
        arm.load()
        arm.first(corpus.utterances[0])
    for number, order in enumerate(balanced_order(len(arms), passes, settings.seed)):
        phase, run = ("run", number - settings.warmup) if number >= settings.warmup else ("warmup", number)
        for index in order:
            doing = f"{phase} {run + 1} {arms[index].name}"
            for audio_s in arms[index].run(batches, phase, run):
                done_s += audio_s
                progress(done_s, total_s, doing)


def _head(corpus: Corpus, settings: OfflineSettings) -> dict[str, object]:
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


def _results(path: Path, settings: OfflineSettings) -> dict[str, object]:
    """Return what the end of a run adds to its record, from the events recorded so far."""
    summary = summarise(read_run(path).events(), asdict(settings))
    return {"arms": summary["arms"], "headline": headline(summary)}


def _described(utterance: Utterance) -> dict[str, Any]:
    return {
        "id": utterance.id,
        "reference": utterance.text,
        "language": utterance.language,
        "speaker": utterance.speaker,
        "audio_s": utterance.duration_s,
    }
