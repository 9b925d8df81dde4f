"""The caller's side of a streaming model: live streams, and recordings through streams of their own."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from auricle.engines.checks import check_language, check_loaded, check_open
from auricle.engines.contract import StreamFailure
from auricle.engines.sherpa.plan import SAMPLE_RATE
from auricle.engines.sherpa.recognizer import SherpaRecognizer
from auricle.engines.sherpa.service import LiveFeed
from auricle.errors import AuricleError, CancelledError, EngineCrashedError, EngineError, UsageError
from auricle.transcript import Hypothesis, fit_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from auricle.engines.contract import Feed, ModelInfo, StreamOptions
    from auricle.engines.sherpa.plan import Plan, Windows
    from auricle.engines.sherpa.service import Heard
    from auricle.trace import Tracer

_SLICE_S = 2.0


@dataclass(slots=True)
class _Stream:
    """A live stream: samples since it was opened, in all and before the current utterance."""

    options: StreamOptions
    consumed: int = 0
    utterance_start: int = 0


class SherpaStreamingRecognizer(SherpaRecognizer):
    """A streaming model.

    A crash of the process fails every stream that it held: those in the step under way at once, the others at their
    next step, each with a StreamFailure. The next call starts a new process.
    """

    def __init__(self, info: ModelInfo, plan: Plan, windows: Windows, slots: int, tracer: Tracer) -> None:
        super().__init__(info, plan, tracer)
        self._windows = windows
        self._slots = slots
        self._streams: dict[int, _Stream] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def open(self, options: StreamOptions) -> int:
        """Start a stream."""
        check_loaded(unloaded=self._unloaded)
        check_open(self.info, options)
        with self._lock:
            if len(self._streams) >= self._slots:
                raise EngineError("all slots are taken", self._slots, "close a stream first")
            stream = next(self._numbers)
            self._streams[stream] = _Stream(options)
        try:
            self._pool.call("open", [stream])
        except AuricleError:
            self._streams.pop(stream, None)
            raise
        return stream

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        """Advance streams in one call; raises EngineError for an unknown one, UsageError for a chunk of wrong size."""
        check_loaded(unloaded=self._unloaded)
        for feed in ready:
            self._check_feed(feed)
        feeds = [LiveFeed(f.stream, np.ascontiguousarray(f.samples, np.float32), f.is_last) for f in ready]
        try:
            results: list[Heard | None] = self._pool.call("step", feeds)
        except EngineError as error:
            check_loaded(unloaded=self._unloaded)
            if not isinstance(error, EngineCrashedError):
                self._pool.call("close", [feed.stream for feed in ready])
            return [self._fail(feed.stream, error) for feed in ready]
        return [self._hypothesis(feed, heard) for feed, heard in zip(ready, results, strict=True)]

    def close(self, stream: int) -> None:
        """Give a stream's place back."""
        check_loaded(unloaded=self._unloaded)
        self._state(stream)
        del self._streams[stream]
        self._pool.call("close", [stream])

    def unload(self) -> None:
        """End the process and with it all streams."""
        super().unload()
        self._streams.clear()

    def _recognise(
        self, recordings: list[NDArray[np.float32]], language: str | None, cancel: threading.Event | None
    ) -> list[Heard]:
        """Feed recordings to streams of their own, slice by slice: live streams go on meanwhile, `cancel` is seen."""
        check_language(self.info, language)
        streams = {next(self._numbers): samples for samples in recordings}
        held = list(streams)
        finals: dict[int, Heard] = {}
        self._pool.call("open", held)
        try:
            for feeds in self._slices(streams):
                if cancel is not None and cancel.is_set():
                    raise CancelledError("the work was cancelled")
                results = map(_still_held, self._pool.call("step", feeds))
                finals.update(zip((feed.stream for feed in feeds), results, strict=True))
        except EngineCrashedError:
            held = []
            raise
        finally:
            if held and not self._unloaded:
                self._pool.call("close", held)
        return [finals[stream] for stream in streams]

    def _slices(self, streams: Mapping[int, NDArray[np.float32]]) -> Iterator[list[LiveFeed]]:
        chunk = self._windows.chunk_samples
        length = max(1, int(_SLICE_S * SAMPLE_RATE / chunk)) * chunk
        for start in range(0, max(len(samples) for samples in streams.values()), length):
            yield [
                LiveFeed(stream, samples[start : start + length], start + length >= len(samples))
                for stream, samples in streams.items()
                if start < len(samples)
            ]

    def _state(self, stream: int) -> _Stream:
        try:
            return self._streams[stream]
        except KeyError:
            raise EngineError("unknown stream", stream, "open it first") from None

    def _check_feed(self, feed: Feed) -> None:
        self._state(feed.stream)
        size, wanted = len(feed.samples), self._windows.chunk_samples
        if size > wanted or (size < wanted and not feed.is_last):
            raise UsageError(f"a chunk of stream {feed.stream} must have {wanted} samples", size, "cut the audio anew")

    def _hypothesis(self, feed: Feed, heard: Heard | None) -> Hypothesis | StreamFailure:
        if heard is None:
            return self._fail(feed.stream, EngineCrashedError("the process that held this stream ended", feed.stream))
        state = self._state(feed.stream)
        state.consumed += len(feed.samples)
        start_s, end_s = state.utterance_start / SAMPLE_RATE, state.consumed / SAMPLE_RATE
        if feed.is_last:
            state.utterance_start = state.consumed
        words = [replace(word, start=word.start + start_s, end=word.end + start_s) for word in heard.words]
        spoken = len(heard.text.split())
        return Hypothesis(
            stream=feed.stream,
            text=heard.text,
            audio_s=end_s,
            is_final=feed.is_last,
            stable_words=spoken if feed.is_last else max(0, spoken - 1),
            words=fit_words(words, end_s) if state.options.word_times else (),
        )

    def _fail(self, stream: int, error: EngineError) -> StreamFailure:
        self._streams.pop(stream, None)
        return StreamFailure(stream, error)


def _still_held(heard: Heard | None) -> Heard:
    if heard is None:
        raise EngineCrashedError("the process that held this recording ended", None, "try again")
    return heard
