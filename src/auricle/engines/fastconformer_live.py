"""A FastConformer model that serves live streams beside files."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psutil

from auricle.engines.checks import check_loaded, check_open
from auricle.engines.contract import StreamingInfo
from auricle.engines.fastconformer_recognizer import FastConformerRecognizer
from auricle.engines.torch_threads import THREADS
from auricle.errors import EngineError
from auricle.fastconformer.memory import STATE_BYTES, beam_bytes, slot_bytes
from auricle.transcript import Hypothesis, Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.engines.contract import Feed, ModelInfo, StreamOptions
    from auricle.fastconformer.config import ModelConfig
    from auricle.fastconformer.device.streams import DeviceStreams
    from auricle.fastconformer.model import FastConformer
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.streaming.streams import LiveStreams, Stream
    from auricle.fastconformer.tokens import Token
    from auricle.trace import Tracer
    from auricle.turns import Turns

DEFAULT_CHUNK_MS = 160
"""The default chunk is the one nearest to this."""

MOST_STREAMS = 4096
MEMORY_SHARE = 0.5
"""Of the machine's memory, what the state of all streams may take."""


@dataclass(slots=True)
class _Live:
    """A live stream, its samples since it was opened and before the utterance at hand, and what was last heard."""

    stream: Stream
    wants_words: bool
    consumed: int = 0
    utterance_start: int = 0
    tokens: int = 0
    text: str = ""
    words: tuple[Word, ...] = ()


class FastConformerStreamingRecognizer(FastConformerRecognizer):
    """Recognises files, and live streams in all the latency classes that the model was trained for."""

    def __init__(
        self,
        model: FastConformer,
        info: ModelInfo,
        tracer: Tracer,
        streams: LiveStreams | DeviceStreams,
        turns: Turns | None = None,
    ) -> None:
        super().__init__(model, info, tracer, turns)
        self._streams: LiveStreams | DeviceStreams | None = streams
        self._classes = {latency.chunk_ms: latency for latency in streams.classes}
        self._live: dict[int, _Live] = {}
        self._numbers = itertools.count(1)
        self._stepping = threading.Lock()

    def open(self, options: StreamOptions) -> int:
        """Start a stream."""
        check_open(self.info, options)
        assert self.info.streaming is not None  # noqa: S101  check_open has raised
        with self._stepping:
            latency = self._classes[self.info.streaming.chunk(options.chunk_ms)]
            stream = self._running().open(latency, options.keywords, self._told(options.language))
            number = next(self._numbers)
            self._live[number] = _Live(stream, options.word_times)
        return number

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis]:
        """Advance streams in one call; raises EngineError for an unknown one, or a chunk of the wrong size."""
        from auricle.fastconformer.streaming.streams import Fed

        with self._stepping:
            streams, live = self._running(), [self._known(feed.stream) for feed in ready]
            THREADS.use()
            try:
                heard = streams.step(
                    [Fed(one.stream, feed.samples, feed.is_last) for one, feed in zip(live, ready, strict=True)]
                )
            except (RuntimeError, MemoryError) as error:
                if isinstance(error, EngineError):
                    raise
                raise EngineError("a step of live streams failed", error, "serve fewer streams") from error
            return [self._tell(*each) for each in zip(live, ready, heard, strict=True)]

    def close(self, stream: int) -> None:
        """Give a stream's place back."""
        with self._stepping:
            streams = self._running()
            streams.close(self._known(stream).stream)
            del self._live[stream]

    def unload(self) -> None:
        """Free the model, and with it all streams."""
        with self._stepping:
            self._streams = None
            self._live.clear()
        super().unload()

    def _tell(self, live: _Live, feed: Feed, tokens: Sequence[Token]) -> Hypothesis:
        live.consumed += len(feed.samples)
        rate = self.info.sample_rate
        settled = live.stream.settled
        if len(tokens) != live.tokens or settled is not None:
            live.tokens = len(tokens)
            live.text = self._loaded().tokenizer.text(tokens)
        if live.wants_words:
            live.words = self._words(live, tokens)
        kept = live.text if settled is None or feed.is_last else self._loaded().tokenizer.text(tokens[:settled])
        spoken = len(kept.split())
        heard = Hypothesis(
            feed.stream,
            live.text,
            live.consumed / rate,
            feed.is_last,
            # What was emitted stays; the last word may still grow.
            spoken if feed.is_last else max(spoken - 1, 0),
            live.words,
        )
        if feed.is_last:
            live.utterance_start, live.tokens, live.text, live.words = live.consumed, 0, "", ()
        return heard

    def _words(self, live: _Live, tokens: Sequence[Token]) -> tuple[Word, ...]:
        """Return the words of the utterance with times since the stream was opened."""
        model, rate = self._loaded(), self.info.sample_rate
        start_s = live.utterance_start / rate
        duration_s = (live.consumed - live.utterance_start) / rate
        return tuple(
            replace(word, start=start_s + word.start, end=start_s + word.end)
            for word in model.tokenizer.words(tokens, model.config.frame_s, duration_s)
        )

    def _known(self, number: int) -> _Live:
        try:
            return self._live[number]
        except KeyError:
            raise EngineError("unknown stream", number, "open it first") from None

    def _running(self) -> LiveStreams | DeviceStreams:
        streams = self._streams
        check_loaded(unloaded=streams is None)
        assert streams is not None  # noqa: S101  check_loaded has raised
        return streams


def streaming_info(
    config: ModelConfig, classes: Sequence[LatencyClass], precision: str, beam: int = 1, replicas: int = 1
) -> StreamingInfo:
    """Return what a model can do live at a precision and with a beam, its default chunk first.

    Of the memory for streams each of so many `replicas` takes its part.
    """
    ordered = sorted(classes, key=lambda latency: (abs(latency.chunk_ms - DEFAULT_CHUNK_MS), latency.chunk_ms))
    ordered[1:] = sorted(ordered[1:], key=lambda latency: latency.chunk_ms)
    searched = beam_bytes(config, beam, STATE_BYTES["fp32"])  # decoders are in single precision
    bytes_per_slot = tuple(slot_bytes(config, latency, precision) + searched for latency in ordered)
    first = ordered[0]
    return StreamingInfo(
        tuple(latency.chunk_ms for latency in ordered),
        tuple(latency.lookahead_ms for latency in ordered),
        max(1, min(MOST_STREAMS, int(MEMORY_SHARE * psutil.virtual_memory().total / replicas) // max(bytes_per_slot))),
        bytes_per_slot,
        first.chunk_samples - first.first_samples,
    )
