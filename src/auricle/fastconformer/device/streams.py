"""Live streams of one model on a device: the same as on a CPU to whoever feeds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.errors import EngineError
from auricle.fastconformer.boosting import Library
from auricle.fastconformer.device.inputs import Row
from auricle.fastconformer.device.state import SlotPool
from auricle.fastconformer.device.step import CARD, Runs, Step
from auricle.fastconformer.phrases import spell
from auricle.fastconformer.streaming.streams import Stream, check_fed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.device.decoding import StreamDecoder
    from auricle.fastconformer.device.model import DeviceModel
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.streaming.streams import Fed
    from auricle.fastconformer.tokens import Token
    from auricle.trace import Tracer

SIZES = (1, 8, 32, 64, 128, 256, 512, 1024)
"""Rows of the blocks that chunks are computed in."""

MOST_FRAMES = 8192
"""A block has no more encoder frames, so that a step stays short."""

_NOTHING = np.empty(0, np.float32)


class DeviceStreams:
    """Up to `slots` live streams on one device, in blocks of `sizes`; used by one thread.

    A block is the smallest that holds the chunks at hand. `runs` counts steps that ran as graphs and those that did
    not; with `graphs` none ever runs without. Steps are prepared when a class is first opened, those for key phrases
    when a stream first has some, or both by `prepare`.
    """

    def __init__(
        self,
        model: DeviceModel,
        slots: int,
        sizes: Sequence[int] = SIZES,
        *,
        graphs: bool | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self.classes = model.classes
        self.slots = slots
        self.runs = Runs()
        self._model = model
        self._sizes = tuple(sorted(sizes))
        self._graphs = model.device.type == "cuda" if graphs is None else graphs
        self._library = Library(device=model.device)
        with torch.inference_mode():
            ring = max(latency.ring for latency in model.classes)
            self._pool = SlotPool(
                model.config.encoder, model.pre_encode, slots, ring, model.features.history, model.device, model.dtype
            )
            self._decoder: StreamDecoder = model.stream_decoder(slots, self._library)
        self._free = list(range(slots - 1, -1, -1))
        self._steps: dict[LatencyClass, dict[int, Step]] = {}

    @property
    def bytes_per_slot(self) -> int:
        """What one open stream takes, whatever its class."""
        return self._pool.bytes_per_slot + self._decoder.bytes_per_slot

    @property
    def block(self) -> int:
        """How many streams a block has at most."""
        return min(self._sizes[-1], self._decoder.most_rows or self._sizes[-1])

    def prepare(self, latency: LatencyClass, *, boosted: bool = False) -> None:
        """Make, and on a CUDA device capture, the steps of a class, for streams with key phrases too if `boosted`."""
        if latency not in self._steps:
            most = min(MOST_FRAMES // latency.frames, self._decoder.most_rows or MOST_FRAMES)
            sizes = [size for size in self._sizes if size <= max(most, min(self._sizes))]
            self._steps[latency] = {
                size: Step(
                    self._model,
                    self._pool,
                    self._decoder,
                    latency,
                    size,
                    self.runs,
                    graphs=self._graphs,
                    tracer=self._tracer,
                )
                for size in sizes
            }
        if boosted:
            for step in self._steps[latency].values():
                step.prepare(boosted=True)

    def open(self, latency: LatencyClass, phrases: Sequence[str] = (), language: str | None = None) -> Stream:
        """Start a stream of one of the `classes` that prefers key phrases, as `phrases.spell` takes them.

        Raises what that does, UnsupportedError for a language that the model does not know, and EngineError when all
        slots are taken or there is no room for the phrases.
        """
        if not self._free:
            raise EngineError("all places for live streams are taken", self._pool.slots, "close one, or wait")
        prompt, spelt = self._model.config.prompt(language), spell(phrases, self._model.tokenizer)
        self.prepare(latency, boosted=bool(spelt))
        with CARD, torch.inference_mode():
            root = self._library.add(spelt)
        self._decoder.forget(self._free[-1])
        return Stream(latency, self._free.pop(), _NOTHING, root=root, prompt=prompt)

    def close(self, stream: Stream) -> None:
        """Give the stream's slot back."""
        self._free.append(stream.slot)
        self._library.drop(stream.root)

    def step(self, fed: Sequence[Fed]) -> list[list[Token]]:
        """Advance each stream, named once, by its chunk; return the tokens of its utterance so far.

        After its last chunk a stream stands at the start of a new utterance. Raises EngineError for a chunk of another
        size than its stream wants.
        """
        by_class: dict[LatencyClass, list[tuple[Stream, Row]]] = {}
        for each in fed:
            check_fed(each)
        for each in fed:
            row = self._row(each)
            ends_without = self._decoder.needs_every_end and each.stream.chunks
            if row.features is None or row.frames or ends_without:
                by_class.setdefault(each.stream.latency, []).append((each.stream, row))
        with CARD:
            for latency, pairs in by_class.items():
                for start, size in self._blocks(latency, len(pairs)):
                    self._advance(pairs[start : start + size], self._steps[latency][size])
        return [self._end(each.stream) if each.is_last else each.stream.tokens for each in fed]

    def _blocks(self, latency: LatencyClass, count: int) -> list[tuple[int, int]]:
        """Cut so many chunks into blocks: where each starts, and its size."""
        sizes = list(self._steps[latency])
        cuts, start = [], 0
        while start < count:
            size = next((size for size in sizes if size >= count - start), sizes[-1])
            cuts.append((start, size))
            start += size
        return cuts

    def _advance(self, pairs: Sequence[tuple[Stream, Row]], step: Step) -> None:
        streams = [stream for stream, _ in pairs]
        for numbers in step([row for _, row in pairs]):
            step.decoding.tell(numbers, streams)
        for stream, row in pairs:
            stream.chunks += 1
            stream.samples += len(row.audio)

    def _row(self, fed: Fed) -> Row:
        stream = fed.stream
        told = stream.prompt, stream.root
        if not fed.is_last:
            return Row(stream.slot, stream.chunks, fed.samples, None, 0, *told)
        features = self._model.log_mel.frames(stream.samples + len(fed.samples))
        frames = self._model.pre_encode.frames(features) - stream.chunks * stream.latency.frames
        return Row(stream.slot, stream.chunks, fed.samples, features, frames, *told)

    def _end(self, stream: Stream) -> list[Token]:
        """Put the stream at the start of a new utterance; return the tokens of the one that ended."""
        tokens, stream.tokens = stream.tokens, []
        stream.chunks, stream.samples = 0, 0
        self._decoder.forget(stream.slot)
        return tokens
