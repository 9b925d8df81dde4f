"""PocketSphinx, the embedded recogniser: its English model is in its wheel, so it works on a machine without a network.

It holds the GIL while it decodes, so it runs in worker processes. Files are normalised by the mean cepstrum of the
whole utterance; live streams start from a fixed mean and adapt, so the two differ.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from auricle.engines.checks import check_choices, check_loaded, check_open, check_request
from auricle.engines.contract import ModelInfo, StreamFailure, StreamingInfo, Support
from auricle.engines.pocketsphinx_models import SphinxModel, embedded_model, find_model
from auricle.engines.pocketsphinx_service import LiveFeed
from auricle.engines.pool import WorkerPool, usable_cpus
from auricle.engines.worker import Worker
from auricle.errors import AuricleError, EngineError, NotInstalledError, UnsupportedError
from auricle.transcript import Hypothesis, Segment, Transcript, Word, fit_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import Feed, LoadOptions, StreamOptions, TranscribeOptions
    from auricle.trace import Tracer

SERVICE = "auricle.engines.pocketsphinx_service:DecoderService"
MAX_AUDIO_S = 60.0
CHUNK_MS = 100
LOOKAHEAD_MS = 30
"""Three frames of 10 ms: the second time derivative of the features."""
STREAMS_PER_WORKER = 16
BYTES_PER_DECODER = 95_000_000
"""Resident growth per further decoder of the embedded model (91 MiB measured); see docs/log.md, 2026-11-20."""
DITHER = np.random.default_rng(0).integers(-1, 2, 16_000, dtype=np.int16)
"""One unit of the last bit: over digital silence the decoder otherwise finds words. Fixed, so that texts repeat."""


def to_pcm(samples: NDArray[np.float32], position: int) -> bytes:
    """Convert to 16-bit PCM with the dither that belongs to `position` (samples since the start of the utterance)."""
    scaled = np.clip(np.rint(samples * 32768), -32767, 32766).astype(np.int16)
    dither = np.take(DITHER, np.arange(position, position + len(samples)), mode="wrap")
    return (scaled + dither).astype("<i2").tobytes()


@dataclass(slots=True)
class _Stream:
    """A live stream on its worker: samples since it was opened, and since its utterance started."""

    worker: Worker
    consumed: int = 0
    utterance: int = 0


class PocketsphinxRecognizer:
    """Utterances go to the next idle worker; a live stream stays with one worker, on a decoder of its own."""

    def __init__(self, model: SphinxModel, info: ModelInfo, tracer: Tracer) -> None:
        self._model = model
        self._tracer = tracer
        self._pool = WorkerPool(self._start_worker, info.workers)
        self._threads = ThreadPoolExecutor(info.workers, thread_name_prefix="pocketsphinx-files")
        self._live_threads = ThreadPoolExecutor(info.workers, thread_name_prefix="pocketsphinx-live")
        self._live: list[Worker] = []
        self._streams: dict[int, _Stream] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._unloaded = False
        try:
            self.info = replace(info, sample_rate=self._pool.call("sample_rate"))
        except AuricleError:
            self.unload()
            raise

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Recognise every recording on its own, several at once."""
        check_loaded(unloaded=self._unloaded)
        check_request(self.info, batch, options)
        futures = [self._threads.submit(self._recognise, audio, options, cancel) for audio in batch]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def open(self, options: StreamOptions) -> int:
        """Start a stream on the worker with the fewest; raises EngineError when every worker is full."""
        check_loaded(unloaded=self._unloaded)
        check_open(self.info, options)
        with self._lock:
            worker = self._free_worker()
            stream = next(self._numbers)
            worker.call("open", stream)
            self._streams[stream] = _Stream(worker)
        return stream

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        """Advance the streams, those of different workers at the same time; a dead worker fails its own streams."""
        check_loaded(unloaded=self._unloaded)
        groups: dict[int, list[Feed]] = {}
        for feed in ready:
            groups.setdefault(id(self._stream(feed.stream).worker), []).append(feed)
        results: dict[int, Hypothesis | StreamFailure] = {}
        for group in self._live_threads.map(self._step_worker, groups.values()):
            results.update((result.stream, result) for result in group)
        return [results[feed.stream] for feed in ready]

    def close(self, stream: int) -> None:
        """End a stream and keep its decoder for the next."""
        worker = self._stream(stream).worker
        with self._lock:
            del self._streams[stream]
        if worker.alive:
            worker.call("close", stream)

    def unload(self) -> None:
        """End all worker processes."""
        with self._lock:
            self._unloaded = True
            self._streams.clear()
        self._pool.stop()
        for worker in self._live:
            worker.stop(grace_s=0.0)
        self._live.clear()
        for threads in (self._threads, self._live_threads):
            threads.shutdown(wait=True, cancel_futures=True)

    def _recognise(self, audio: Audio, options: TranscribeOptions, cancel: threading.Event | None) -> Transcript:
        words: Sequence[Word] = ()
        if len(audio.samples):
            words = self._pool.call("recognise", to_pcm(audio.samples, 0), cancel=cancel)
        words = fit_words(words, audio.duration_s)
        text = " ".join(word.text for word in words)
        segments = (Segment(text, words[0].start, words[-1].end, words if options.word_times else ()),) if words else ()
        return Transcript(text, audio.duration_s, segments, self.info.languages[0] if self.info.languages else None)

    def _step_worker(self, feeds: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        streams = [self._stream(feed.stream) for feed in feeds]
        chunks = [
            LiveFeed(feed.stream, to_pcm(feed.samples, stream.utterance), feed.is_last)
            for feed, stream in zip(feeds, streams, strict=True)
        ]
        try:
            heard = streams[0].worker.call("step", chunks)
        except EngineError as error:
            with self._lock:
                for feed in feeds:
                    self._streams.pop(feed.stream, None)
            return [StreamFailure(feed.stream, error) for feed in feeds]
        return [
            self._hypothesis(feed, stream, words) for feed, stream, words in zip(feeds, streams, heard, strict=True)
        ]

    def _hypothesis(self, feed: Feed, stream: _Stream, words: Sequence[Word]) -> Hypothesis:
        rate = self.info.sample_rate
        start_s = (stream.consumed - stream.utterance) / rate
        stream.consumed += len(feed.samples)
        stream.utterance = 0 if feed.is_last else stream.utterance + len(feed.samples)
        audio_s = stream.consumed / rate
        text = " ".join(word.text for word in words)
        if not feed.is_last:
            return Hypothesis(feed.stream, text, audio_s)
        shifted = [replace(word, start=word.start + start_s, end=word.end + start_s) for word in words]
        return Hypothesis(
            feed.stream, text, audio_s, is_final=True, stable_words=len(words), words=fit_words(shifted, audio_s)
        )

    def _stream(self, stream: int) -> _Stream:
        try:
            return self._streams[stream]
        except KeyError:
            raise EngineError("unknown stream", stream, "open it first") from None

    def _free_worker(self) -> Worker:
        for worker in [worker for worker in self._live if not worker.alive]:
            worker.stop()
            self._live.remove(worker)
        load = {id(worker): 0 for worker in self._live}
        for stream in self._streams.values():
            load[id(stream.worker)] = load.get(id(stream.worker), 0) + 1
        if len(self._live) < self.info.workers and all(load.values()):
            self._live.append(self._start_worker(len(self._live)))
            return self._live[-1]
        worker = min(self._live, key=lambda worker: load[id(worker)])
        if load[id(worker)] >= STREAMS_PER_WORKER:
            raise EngineError("all slots are taken", len(self._streams), "close a stream first")
        return worker

    def _start_worker(self, index: int) -> Worker:
        return Worker(SERVICE, (self._model,), self._tracer, lane=f"pocketsphinx-{index}")


class PocketsphinxEngine:
    """Loads the embedded English model, or another from a folder."""

    name = "pocketsphinx"

    def support(self) -> list[Support]:
        """One device, one precision; unusable where the package is missing."""
        try:
            embedded_model()
        except NotInstalledError as error:
            return [Support("cpu", "fp32", usable=False, reason=error.what, remedy=error.remedy)]
        return [Support("cpu", "fp32", usable=True)]

    def load(self, options: LoadOptions, tracer: Tracer) -> PocketsphinxRecognizer:
        """Find the model's parts and start the first worker; raises as `Engine.load` says."""
        if options.device != "cpu":
            raise UnsupportedError("PocketSphinx runs on the CPU alone", options.device, "use device cpu")
        if options.precision not in {None, "fp32"}:
            raise UnsupportedError("PocketSphinx has one precision", options.precision, "use fp32")
        check_choices("PocketSphinx", options)
        model = embedded_model() if options.model is None else find_model(options.model)
        workers = usable_cpus() if options.threads is None else options.threads
        info = ModelInfo(
            engine=self.name,
            name=options.model_name or ("pocketsphinx-en-us" if options.model is None else options.model.name),
            family="hidden Markov model with Gaussian mixtures",
            languages=("en",) if options.model is None else (),
            sample_rate=0,
            device="cpu",
            precision="fp32",
            parameters=sum(group.count for group in model.weights),
            weights=model.weights,
            files=model.files,
            threads=1,
            workers=workers,
            max_audio_s=MAX_AUDIO_S,
            features=frozenset({"word_times", "confidence", "language"}),
            streaming=StreamingInfo((CHUNK_MS,), (LOOKAHEAD_MS,), STREAMS_PER_WORKER * workers, (BYTES_PER_DECODER,)),
        )
        return PocketsphinxRecognizer(model, info, tracer)


ENGINE = PocketsphinxEngine()
