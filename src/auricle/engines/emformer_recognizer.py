"""A loaded Emformer model as the contract wants it: files in batches, and live streams."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from auricle.emformer.config import FIRST_SAMPLES, SEGMENT_SAMPLES
from auricle.engines.checks import check_open, check_request
from auricle.engines.torch_threads import THREADS
from auricle.errors import CancelledError, EngineError
from auricle.transcript import Hypothesis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auricle.audio import Audio
    from auricle.emformer.model import Emformer
    from auricle.emformer.streams import LiveStreams, Stream
    from auricle.emformer.trail import Trail
    from auricle.engines.contract import Feed, ModelInfo, StreamOptions, TranscribeOptions
    from auricle.trace import Tracer
    from auricle.transcript import Transcript, Word

LONGEST_S = 300.0
"""Of a recording, and of all that are computed together: their encoder frames take 31 MB at the base size."""

_MOST_TOGETHER = 16
_POLL_S = 0.05


@dataclass(slots=True)
class _Live:
    """A live stream, and its samples since it was opened and before the utterance at hand."""

    stream: Stream
    wants_words: bool
    consumed: int = 0
    utterance_start: int = 0


class EmformerRecognizer:
    """Recognises files and live streams; file calls from several threads take turns, batch by batch."""

    def __init__(self, model: Emformer, info: ModelInfo, tracer: Tracer) -> None:
        from auricle.emformer.streams import LiveStreams

        assert info.streaming is not None  # noqa: S101  every model of this kind serves live
        self.info = info
        self._model: Emformer | None = model
        self._streams: LiveStreams | None = LiveStreams(model, info.streaming.slots, tracer)
        self._tracer = tracer
        self._live: dict[int, _Live] = {}
        self._numbers = itertools.count(1)
        self._turn, self._stepping = threading.Lock(), threading.Lock()

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Recognise recordings, those of similar length together; `cancel` is heeded within their decoding too."""
        check_request(self.info, batch, options)
        self._loaded()
        made: dict[int, Transcript] = {}
        for group in _groups([audio.duration_s for audio in batch]):
            with self._alone(cancel):
                found = self._recognise([batch[index] for index in group], cancel)
            made.update(zip(group, found, strict=True))
        return [self._answer(made[index], options) for index in range(len(batch))]

    def open(self, options: StreamOptions) -> int:
        """Start a stream."""
        check_open(self.info, options)
        with self._stepping:
            self._live[number := next(self._numbers)] = _Live(self._running().open(), options.word_times)
        return number

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis]:
        """Advance streams in one call; raises EngineError for an unknown one, or a chunk of the wrong size."""
        from auricle.emformer.streams import Fed

        with self._stepping:
            streams, live = self._running(), [self._known(feed.stream) for feed in ready]
            for one, feed in zip(live, ready, strict=True):
                _check_size(one, feed)
            THREADS.use()
            fed = [Fed(one.stream, feed.samples, feed.is_last) for one, feed in zip(live, ready, strict=True)]
            with _told("a step of live streams failed", "serve fewer streams"):
                heard = streams.step(fed)
            return [self._tell(*each) for each in zip(live, ready, heard, strict=True)]

    def close(self, stream: int) -> None:
        """Give a stream's place back."""
        with self._stepping:
            self._running().close(self._known(stream).stream)
            del self._live[stream]

    def unload(self) -> None:
        """Free the model, and with it all streams; a file call under way ends after its batch."""
        with self._stepping:
            if self._model is not None:
                self._model = self._streams = None
                self._live.clear()
                THREADS.give_back()

    def _recognise(self, group: Sequence[Audio], cancel: threading.Event | None) -> list[Transcript]:
        model = self._loaded()
        THREADS.use()
        frames = []
        for audio in group:
            with self._stage("features", cancel):
                features = model.hear(audio.samples)
            with self._stage("encoder", cancel):
                frames.append(model.encode(features))
        with self._stage("decode", cancel):
            trails = model.decode(frames, lambda: _check(cancel))
        with self._stage("detokenise", cancel):
            pairs = zip(trails, group, strict=True)
            return [model.tokenizer.transcript(trail.tokens(), audio.duration_s) for trail, audio in pairs]

    def _tell(self, live: _Live, feed: Feed, trail: Trail) -> Hypothesis:
        live.consumed += len(feed.samples)
        rate, tokenizer, tokens = self.info.sample_rate, self._loaded().tokenizer, trail.tokens()
        text = tokenizer.text(tokens)
        # What all hypotheses begin with stays; its last word may still grow.
        stable = len(text.split()) if feed.is_last else max(len(tokenizer.text(tokens[: trail.settled]).split()) - 1, 0)
        words: tuple[Word, ...] = ()
        if live.wants_words:
            start_s = live.utterance_start / rate
            words = tuple(
                replace(word, start=start_s + word.start, end=start_s + word.end)
                for word in tokenizer.words(tokens, (live.consumed - live.utterance_start) / rate)
            )
        if feed.is_last:
            live.utterance_start = live.consumed
        return Hypothesis(feed.stream, text, live.consumed / rate, feed.is_last, stable, words)

    def _answer(self, transcript: Transcript, options: TranscribeOptions) -> Transcript:
        """Return a transcript with words only where they were asked for, and the one language of the model."""
        segments = transcript.segments
        if not options.word_times:
            segments = tuple(replace(segment, words=()) for segment in segments)
        language = options.language or (self.info.languages[0] if len(self.info.languages) == 1 else None)
        return replace(transcript, segments=segments, language=language)

    @contextmanager
    def _stage(self, name: str, cancel: threading.Event | None) -> Iterator[None]:
        """Trace a stage; what goes wrong within torch is an EngineError."""
        _check(cancel)
        with _told(f"the stage {name!r} failed", "give shorter or fewer recordings at once"), self._tracer.span(name):
            yield

    @contextmanager
    def _alone(self, cancel: threading.Event | None) -> Iterator[None]:
        """Wait for this call's turn, or for `cancel`."""
        _check(cancel)
        while not self._turn.acquire(timeout=_POLL_S):
            _check(cancel)
        try:
            yield
        finally:
            self._turn.release()

    def _loaded(self) -> Emformer:
        if self._model is None:
            raise EngineError("the recogniser was unloaded", None, "load it again")
        return self._model

    def _running(self) -> LiveStreams:
        if self._streams is None:
            raise EngineError("the recogniser was unloaded", None, "load it again")
        return self._streams

    def _known(self, number: int) -> _Live:
        try:
            return self._live[number]
        except KeyError:
            raise EngineError("unknown stream", number, "open it first") from None


@contextmanager
def _told(what: str, remedy: str) -> Iterator[None]:
    """Turn torch's errors into an EngineError."""
    try:
        yield
    except (EngineError, CancelledError):
        raise
    except (RuntimeError, MemoryError) as error:
        raise EngineError(what, error, remedy) from error


def _check(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise CancelledError("the work was cancelled")


def _check_size(live: _Live, feed: Feed) -> None:
    """Raise EngineError for a chunk of another size than the stream wants."""
    wanted = SEGMENT_SAMPLES if live.consumed > live.utterance_start else FIRST_SAMPLES
    given = len(feed.samples)
    if given > wanted or (given < wanted and not feed.is_last):
        most = "at most " if feed.is_last else ""
        raise EngineError("a chunk for a live stream is of the wrong size", f"{given} samples", f"give {most}{wanted}")


def _groups(durations_s: Sequence[float]) -> list[list[int]]:
    """Group recordings of similar length, as many as are computed together."""
    groups: list[list[int]] = []
    total_s = 0.0
    for index in sorted(range(len(durations_s)), key=lambda one: durations_s[one]):
        total_s += durations_s[index]
        if not groups or len(groups[-1]) == _MOST_TOGETHER or total_s > LONGEST_S:
            groups.append([])
            total_s = durations_s[index]
        groups[-1].append(index)
    return groups
