"""Plays utterances to a loaded engine as fast as it goes and times every step: a chunk of live streams, or a file."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from auricle.engines.contract import Feed, StreamFailure, StreamingRecognizer, StreamOptions, TranscribeOptions
from auricle.errors import AuricleError, UnsupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import Recognizer
    from auricle.trace import Tracer
    from auricle.transcript import Hypothesis

MS_PER_S = 1000
Event = dict[str, Any]


class Player(Protocol):
    """Plays a group of recordings together and yields the fields of its `step` and `played` events."""

    def play(self, ids: Sequence[str], batch: Sequence[Audio], most_steps: int | None = None) -> Iterator[Event]:
        """Play to the end, or for so many steps at most; what fails is told in `played`, never raised."""
        ...


def player(recognizer: Recognizer, tracer: Tracer, *, live: bool | None, chunk_ms: int | None) -> Player:
    """Return what plays to this engine: streams where it has any, unless `live` says.

    Raises UnsupportedError for streams or a chunk size that it does not have, UsageError for a chunk size of files.
    """
    streaming = recognizer.info.streaming
    has_streams = isinstance(recognizer, StreamingRecognizer) and streaming is not None
    if live and not has_streams:
        raise UnsupportedError(f"{recognizer.info.name} does not serve live streams", None, "profile it on files")
    if live is False or not has_streams:
        if chunk_ms is not None:
            raise UsageError("files are not cut into chunks", f"{chunk_ms} ms", "leave the chunk size out")
        return FilePlayer(recognizer, tracer)
    assert isinstance(recognizer, StreamingRecognizer)  # noqa: S101  has_streams says so
    return LivePlayer(recognizer, tracer, chunk_ms)


class FilePlayer:
    """Recognises recordings one at a time, each in one step."""

    def __init__(self, recognizer: Recognizer, tracer: Tracer) -> None:
        self._recognizer = recognizer
        self._tracer = tracer

    def play(self, ids: Sequence[str], batch: Sequence[Audio], most_steps: int | None = None) -> Iterator[Event]:
        """Play the recordings one after the other."""
        for name, audio in list(zip(ids, batch, strict=True))[:most_steps]:
            self._tracer.drain()
            start = time.perf_counter()
            try:
                text = self._recognizer.transcribe([audio], TranscribeOptions())[0].text
            except AuricleError as error:
                yield _played(name, audio.duration_s, 0.0, None, str(error))
                continue
            step_s = time.perf_counter() - start
            heard = [len(text.split())]
            yield _step(start, step_s, self._tracer, ids=[name], fed_s=[audio.duration_s], last=[True], words=heard)
            yield _played(name, audio.duration_s, 0.0, text, None)


@dataclass(slots=True)
class _Playing:
    """A stream under way: what is left of its audio, and how many samples it is given next."""

    name: str
    stream: int
    left: NDArray[np.float32]
    duration_s: float
    wanted: int
    text: str | None = None
    error: str | None = None
    done: bool = False

    def feed(self, chunk: int) -> Feed:
        samples, self.left = self.left[: self.wanted], self.left[self.wanted :]
        self.wanted = chunk
        return Feed(self.stream, samples, is_last=not len(self.left))


class LivePlayer:
    """Plays streams in lockstep, each chunk as soon as the step before it is done."""

    def __init__(self, recognizer: StreamingRecognizer, tracer: Tracer, chunk_ms: int | None) -> None:
        streaming = recognizer.info.streaming
        assert streaming is not None  # noqa: S101  a streaming recogniser has it
        self._recognizer = recognizer
        self._tracer = tracer
        self.options = StreamOptions(streaming.chunk(chunk_ms))
        recognizer.close(recognizer.open(self.options))
        self.chunk_ms = streaming.chunk(chunk_ms)
        self._rate = recognizer.info.sample_rate
        self._chunk = self.chunk_ms * self._rate // MS_PER_S
        self._first = self._chunk - streaming.first_short
        self.first_short_s = streaming.first_short / self._rate

    def play(self, ids: Sequence[str], batch: Sequence[Audio], most_steps: int | None = None) -> Iterator[Event]:
        """Open a stream for each recording and play them together."""
        if most_steps == 0:
            return
        start = time.perf_counter()
        playing: list[_Playing] = []
        error: str | None = None
        try:
            for name, audio in zip(ids, batch, strict=True):
                stream = self._recognizer.open(self.options)
                playing.append(_Playing(name, stream, audio.samples, audio.duration_s, self._first))
            open_s = time.perf_counter() - start
            yield from self._steps(playing, most_steps)
        except AuricleError as caught:
            open_s, error = time.perf_counter() - start, str(caught)
        by_name = {one.name: one for one in playing}
        for one in playing:
            with suppress(AuricleError):  # what broke the stream is told below
                self._recognizer.close(one.stream)
        for name, audio in zip(ids, batch, strict=True):
            known = by_name.get(name)
            text = known.text if known is not None and known.done else None
            yield _played(name, audio.duration_s, open_s, text, error if known is None else known.error or error)

    def _steps(self, playing: Sequence[_Playing], most_steps: int | None) -> Iterator[Event]:
        count = 0
        while (live := [one for one in playing if not one.done and one.error is None]) and count != most_steps:
            feeds = [one.feed(self._chunk) for one in live]
            self._tracer.drain()
            start = time.perf_counter()
            results = self._recognizer.step(feeds)
            step_s = time.perf_counter() - start
            for one, feed, result in zip(live, feeds, results, strict=True):
                _take(one, feed, result)
            yield _step(
                start,
                step_s,
                self._tracer,
                ids=[one.name for one in live],
                fed_s=[len(feed.samples) / self._rate for feed in feeds],
                last=[feed.is_last for feed in feeds],
                words=[len((one.text or "").split()) for one in live],
            )
            count += 1


def _take(one: _Playing, feed: Feed, result: Hypothesis | StreamFailure) -> None:
    if isinstance(result, StreamFailure):
        one.error = str(result.error)
        return
    one.text, one.done = result.text, feed.is_last


def _step(start: float, step_s: float, tracer: Tracer, **fields: object) -> Event:
    stages_s: dict[str, float] = {}
    spans = tracer.drain()
    for span in spans:
        stages_s[span.stage] = stages_s.get(span.stage, 0.0) + span.duration_s
    lanes = len({span.lane for span in spans}) or 1
    return {"event": "step", "at_s": start, **fields, "step_s": step_s, "stages_s": stages_s, "lanes": lanes}


def _played(name: str, audio_s: float, open_s: float, text: str | None, error: str | None) -> Event:
    return {"event": "played", "id": name, "audio_s": audio_s, "open_s": open_s, "text": text, "error": error}
