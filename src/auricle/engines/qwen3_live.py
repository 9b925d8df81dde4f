"""A Qwen3-ASR model that serves live streams beside files."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.engines.checks import check_loaded, check_open
from auricle.engines.qwen3_recognizer import Qwen3Recognizer, context_of
from auricle.errors import EngineError
from auricle.qwen3.live import Fed, LiveStreams
from auricle.transcript import Hypothesis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.engines.contract import Feed, ModelInfo, StreamOptions
    from auricle.qwen3.live import Heard, Live
    from auricle.qwen3.model import Qwen3Asr
    from auricle.trace import Tracer

_MS_PER_S = 1000


@dataclass(slots=True)
class _Stream:
    """A live stream, the samples of its chunks, and how many it was given since it was opened."""

    live: Live
    chunk: int
    consumed: int = 0


class Qwen3StreamingRecognizer(Qwen3Recognizer):
    """Recognises files, and live streams that share a step."""

    def __init__(self, model: Qwen3Asr, info: ModelInfo, tracer: Tracer) -> None:
        super().__init__(model, info, tracer)
        self._streams: LiveStreams | None = LiveStreams(model)
        self._open: dict[int, _Stream] = {}
        self._numbers = itertools.count(1)

    def open(self, options: StreamOptions) -> int:
        """Start a stream."""
        check_loaded(unloaded=self._streams is None)
        check_open(self.info, options)
        assert self.info.streaming is not None  # noqa: S101  check_open has raised
        with self._alone(None):
            if len(self._open) >= self.info.streaming.slots:
                raise EngineError("all live streams are taken", len(self._open), "close one, or wait")
            live = self._running().open(context_of(None, options.keywords), options.language)
            number = next(self._numbers)
            chunk = self.info.streaming.chunk(options.chunk_ms) * self.info.sample_rate // _MS_PER_S
            self._open[number] = _Stream(live, chunk)
        return number

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis]:
        """Advance streams in one call; raises EngineError for an unknown one, or a chunk of the wrong size."""
        with self._alone(None):
            streams = [self._known(feed.stream) for feed in ready]
            for stream, feed in zip(streams, ready, strict=True):
                whole = len(feed.samples) == stream.chunk
                if not whole and not (feed.is_last and len(feed.samples) < stream.chunk):
                    raise EngineError("a chunk has the wrong size", len(feed.samples), f"give {stream.chunk} samples")
            fed = [Fed(one.live, feed.samples, feed.is_last) for one, feed in zip(streams, ready, strict=True)]
            heard = self._running().step(fed, self.stages)
            return [self._tell(*each) for each in zip(streams, ready, heard, strict=True)]

    def close(self, stream: int) -> None:
        """Give a stream's place back."""
        with self._alone(None):
            self._known(stream)
            del self._open[stream]

    def unload(self) -> None:
        """Free the model, and with it all streams."""
        with self._turn:
            self._streams = None
            self._open.clear()
        super().unload()

    def _tell(self, stream: _Stream, feed: Feed, heard: Heard) -> Hypothesis:
        stream.consumed += len(feed.samples)
        audio_s = stream.consumed / self.info.sample_rate
        return Hypothesis(feed.stream, heard.text, audio_s, feed.is_last, heard.stable_words)

    def _known(self, number: int) -> _Stream:
        try:
            return self._open[number]
        except KeyError:
            raise EngineError("unknown stream", number, "open it first") from None

    def _running(self) -> LiveStreams:
        streams = self._streams
        check_loaded(unloaded=streams is None)
        assert streams is not None  # noqa: S101  check_loaded has raised
        return streams
