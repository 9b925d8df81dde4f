"""The sweep: a server is loaded level by level, and all that happens goes into the record of the run."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from auricle.bench.live import client_limit, record
from auricle.bench.live.capacity import search
from auricle.bench.live.load import InterruptedLoad, Load, LoadProcesses
from auricle.bench.live.programmes import compose, render
from auricle.bench.live.scrape import lookahead_ms, reach, scrape
from auricle.bench.live.settings import described, head
from auricle.bench.live.speech import locate
from auricle.bench.live.summary import headline, judged, summarise
from auricle.bench.records import read_run
from auricle.bench.sampler import Sampler
from auricle.client.clips import Clip, make_clip
from auricle.client.errors import ServerError
from auricle.client.fleet import Concurrency, FleetSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from auricle.bench.live.capacity import Answer
    from auricle.bench.live.cpus import Throttling
    from auricle.bench.live.server import Running
    from auricle.bench.live.settings import LiveSettings
    from auricle.bench.records import Run
    from auricle.client.dialects.base import Target
    from auricle.client.fleet import FleetResult
    from auricle.corpus import Corpus

    Progress = Callable[[float, float | None, str], None]

REFERENCE_FINISH_S = 60.0
STREAMS_PER_CLIENT = 200
"""In one load process where its limit is not known; half of that where it is."""
SLACK_S = 10.0
THROTTLING = ("periods", "throttled", "throttled_s")


@dataclass(frozen=True, slots=True)
class Arm:
    """A server as it is configured: `open` starts it, or says where it runs, for as long as its context."""

    name: str
    target: Callable[[Running], Target]
    open: Callable[[], AbstractContextManager[Running]]
    metrics_url: str | None = None
    server_cpus: float | None = None


def run_live(corpus: Corpus, arms: Sequence[Arm], settings: LiveSettings, root: Path, progress: Progress) -> Run:
    """Load every arm at every level and return the record, a new folder under `root`.

    Streams that fail count as wrong and the run goes on. Where no server answers, or the first streams all fail to
    connect, it ends at once with that ServerError. An interrupted run keeps its events, those of the streams of the
    level that was cut off among them, and the summary of its finished levels.
    """
    with record.Recorder.create(root, record.KIND) as folder:
        folder.update(head(corpus, settings))
        try:
            bench = _Bench(folder, corpus, settings, progress)
            for arm in arms:
                with bench.on(arm):
                    bench.sweep()
        except KeyboardInterrupt:
            folder.finish(_results(folder.path), "interrupted", "KeyboardInterrupt")
            raise
        folder.finish(_results(folder.path))
    return read_run(folder.path)


class _Bench:
    """The arms under load, one after the other."""

    def __init__(self, folder: record.Recorder, corpus: Corpus, settings: LiveSettings, progress: Progress) -> None:
        self._folder = folder
        self._corpus = corpus
        self._settings = settings
        self._progress = progress
        self._numbers = itertools.count()
        self._written = False
        self._running: Running
        self._arm: Arm
        self._target: Target
        self._clips: list[Clip]
        self._load: LoadProcesses
        self._sampler: Sampler | None = None
        self._limit: int | None = None
        self._base: set[int] = set()
        self._spread = 1
        self._is_reached = False

    @contextmanager
    def on(self, arm: Arm) -> Iterator[None]:
        """Open the arm's server and the load processes."""
        with ExitStack() as stack:
            self._progress(0, None, f"starting {arm.name}")
            self._running = stack.enter_context(arm.open())
            self._arm, self._target = arm, arm.target(self._running)
            self._base, self._spread, self._is_reached = set(), 1, False
            reach(self._target)
            self._folder.update({"settings": described(self._settings, self._target)})
            self._folder.event(
                "arm",
                arm=arm.name,
                spawned=self._running.command,
                server_cpus=arm.server_cpus,
                says=self._running.says,
                lookahead_ms=lookahead_ms(self._running.base or self._target.url),
            )
            self._limit = client_limit.known(self._target.dialect, self._settings.chunk_ms)
            self._clips = self._prepare()
            self._load = stack.enter_context(LoadProcesses(self._clips))
            self._sampler = None
            stack.callback(self._write_samples)
            if (pid := self._running.pid) is not None:
                self._sampler = stack.enter_context(Sampler(lambda: [pid]))
            yield

    def _write_samples(self) -> None:
        for sample in () if self._sampler is None else self._sampler.samples:
            self._folder.event("sample", at_s=sample.at_s, arm=self._arm.name, **sample.fields())

    def sweep(self) -> None:
        """Play the reference, then every level."""
        settings = self._settings
        if settings.reference:
            self._reference()
        for live in settings.levels:
            self._level(live, "level", settings.seconds)
        if settings.capacity_from is not None:
            self._search(settings.capacity_from)

    def _search(self, start: int) -> None:
        """Look for the capacity, probe by probe, each judged from its raw events."""
        asking = search(start)
        probe = next(asking)
        while True:
            level = self._level(probe.live, "probe", self._settings.seconds * 2**probe.effort)
            found = self._judged(level)
            if found == "void":
                self._spread *= 2
            try:
                probe = asking.send(found)
            except StopIteration:
                return

    def _judged(self, level: int) -> Answer:
        wanted = (None, *sorted(self._base | {level}))
        events = [event for key in wanted for event in self._folder.by_level.get(key, ())]
        return judged(events, described(self._settings, self._target))

    def _level(self, live: int, phase: str, seconds: float) -> int:
        """Load the server with as many streams and return the number of the level."""
        settings = self._settings
        lengths_s = [clip.duration_s / settings.speed for clip in self._clips]
        load = Load(
            target=self._target,
            live=live,
            per_s=live * len(lengths_s) / sum(lengths_s) if settings.poisson else None,
            seconds=seconds,
            stop_after_s=seconds + max(lengths_s) + self._target.connect_s + self._target.finish_s + SLACK_S,
            chunk_ms=settings.chunk_ms,
            speed=settings.speed,
            seed=settings.seed,
        )
        each = STREAMS_PER_CLIENT if self._limit is None else max(1, self._limit // 2)
        clients = min(live, settings.clients or self._spread * -(-live // each))
        fleets = [load.share(number, clients) for number in range(clients)]
        level = self._play(fleets, phase, live, load.per_s, seconds + max(lengths_s))
        if live == 1 and len(self._base) <= settings.reference:
            self._base.add(level)
        return level

    def _reference(self) -> None:
        """Play every programme once, one stream at a time, as fast as the server takes it."""
        fleet = FleetSettings(
            target=replace(self._target, finish_s=max(REFERENCE_FINISH_S, self._target.finish_s)),
            arrivals=Concurrency(1, ramp_s=0.0),
            streams=len(self._clips),
            stop_after_s=sum(clip.duration_s for clip in self._clips) + REFERENCE_FINISH_S,
            chunk_ms=self._settings.chunk_ms,
            speed=None,
            seed=self._settings.seed,
        )
        self._base.add(self._play([fleet], "reference", 1, None, None))

    def _play(
        self, fleets: Sequence[FleetSettings], phase: str, live: int, per_s: float | None, about_s: float | None
    ) -> int:
        self._folder.forget(self._base)
        level = next(self._numbers)
        doing = f"{self._arm.name}: {phase} of {live} live"
        self._scrape(level, "begin")
        sampled_s = None if self._sampler is None else self._sampler.mark()
        before = self._throttling()
        began_s = time.perf_counter()
        try:
            results = self._load.play(fleets, lambda: self._progress(time.perf_counter() - began_s, about_s, doing))
        except InterruptedLoad as cut:
            self._record(level, cut.results)
            raise
        ended_s = time.perf_counter()
        if self._sampler is not None and sampled_s is not None:
            usage = self._sampler.window(sampled_s, self._sampler.mark())
            self._folder.event("usage", level=level, **asdict(usage))
        if before is not None and (after := self._throttling()) is not None:
            gone = {name: round(getattr(after, name) - getattr(before, name), 6) for name in THROTTLING}
            self._folder.event("throttle", level=level, **gone)
        self._scrape(level, "end")
        self._record(level, results)
        self._check_reached(results)
        start_for_s = fleets[0].start_for_s
        self._folder.event(
            "level",
            level=level,
            arm=self._arm.name,
            phase=phase,
            live=live,
            per_s=per_s,
            speed=fleets[0].speed,
            began_s=self._folder.since_start_s(began_s),
            counted_until_s=None if start_for_s is None else self._folder.since_start_s(began_s + start_for_s),
            ended_s=self._folder.since_start_s(ended_s),
            skipped=sum(result.skipped for result in results),
        )
        return level

    def _record(self, level: int, results: Sequence[FleetResult]) -> None:
        for client, result in enumerate(results):
            for stream in result.records:
                record.write_stream(self._folder, level, stream.stream * len(results) + client, client, stream)
            told = result.certificate
            self._folder.event(
                "client",
                level=level,
                client=client,
                cpu_s=told.cpu * told.wall_s,
                wall_s=told.wall_s,
                most_live=told.most_live,
                loop=told.loop,
                limit=self._limit,
            )

    def _check_reached(self, results: Sequence[FleetResult]) -> None:
        """Raise ServerError when none of the arm's first streams could connect."""
        streams = [stream for result in results for stream in result.records]
        lost = [stream for stream in streams if stream.outcome == "failed" and stream.ready_s is None]
        if not self._is_reached and lost and len(lost) == sum(stream.outcome != "cancelled" for stream in streams):
            raise ServerError("no stream could connect", lost[0].error)
        self._is_reached = True

    def _throttling(self) -> Throttling | None:
        return None if self._running.group is None else self._running.group.throttling()

    def _scrape(self, level: int, moment: str) -> None:
        url = self._arm.metrics_url or (None if self._running.base is None else f"{self._running.base}/metrics")
        if url is not None:
            self._folder.event("scrape", level=level, moment=moment, figures=scrape(url, self._target.key))

    def _prepare(self) -> list[Clip]:
        """Decode the corpus into what streams play, and write it down."""
        clips: dict[str, Clip] = {}
        for number, utterance in enumerate(self._corpus.utterances):
            self._progress(number, len(self._corpus.utterances), "reading the corpus")
            audio = utterance.load()
            clips[utterance.id] = make_clip(audio, self._target, utterance.id)
            if not self._written:
                record.write_utterance(self._folder, locate(utterance, audio))
        settings = self._settings
        lengths_s = {name: clip.duration_s for name, clip in clips.items()}
        programmes = compose(lengths_s, settings.stream_s, settings.gap_s, settings.tail_s, settings.seed)
        if not self._written:
            for programme in programmes:
                record.write_programme(self._folder, programme)
        self._written = True
        return [render(programme, clips) for programme in programmes]


def _results(path: Path) -> dict[str, object]:
    """Return what the end of a run adds to its record, from the events recorded so far."""
    run = read_run(path)
    summary = summarise(run.events(), run.info["settings"])
    return {**summary, "headline": headline(summary)}
