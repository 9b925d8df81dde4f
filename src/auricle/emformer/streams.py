"""Live streams of one model: opened in a slot, advanced together segment by segment, as torchaudio's `infer` does."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from auricle.emformer.config import LEFT, RIGHT, SEGMENT, SEGMENT_SAMPLES, WINDOW_SAMPLES
from auricle.emformer.encoder import SEEN, hidden
from auricle.emformer.trail import Trail, follow
from auricle.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from auricle.emformer.model import Emformer
    from auricle.trace import Tracer

BLOCK = 64
"""So many segments are computed together at most."""

_FIRST_SLOTS = 4
_RING = LEFT + SEGMENT


@dataclass(slots=True, eq=False)
class Stream:
    """A live stream: its slot, and of the utterance at hand the samples not yet used up, the segments, and the text."""

    slot: int
    trail: Trail
    waiting: NDArray[np.float32]
    segments: int = 0


@dataclass(frozen=True, slots=True)
class Fed:
    """Samples for a stream, any number of them."""

    stream: Stream
    samples: NDArray[np.float32]
    is_last: bool = False


class _Ring:
    """Keys and values of all streams: `RIGHT` places for the right context, and a ring for the past and the segment.

    Attention has no positions, so what is oldest is overwritten and nothing moves.
    """

    def __init__(self, layers: int, width: int) -> None:
        self._kept = torch.zeros(layers, 0, SEEN, 2 * width)
        self._slots: slice | Tensor = slice(0, 0)
        self._places = torch.zeros(0, dtype=torch.long)
        self.mask: Tensor | None = None

    @property
    def bytes_per_slot(self) -> int:
        """What one stream takes."""
        layers, _, *rest = self._kept.shape
        return layers * rest[0] * rest[1] * self._kept.element_size()

    def grow(self, slots: int) -> None:
        """Make room for as many slots in all."""
        layers, before, *rest = self._kept.shape
        self._kept = torch.cat((self._kept, self._kept.new_zeros(layers, slots - before, *rest)), dim=1)

    def reset(self, slots: Tensor) -> None:
        """Forget what was heard in these slots: zero times what is not a number would be none either."""
        self._kept[:, slots] = 0

    def begin(self, slots: Tensor, segments: Tensor) -> None:
        """Say that the streams in these slots, in order, have their next segment, each after so many."""
        start, end = int(slots[0]), int(slots[-1]) + 1
        self._slots = slice(start, end) if end - start == len(slots) else slots
        ring = (segments[:, None] * SEGMENT + torch.arange(SEGMENT)) % _RING + RIGHT
        rows = torch.cat((torch.arange(RIGHT).expand(len(slots), -1), ring), dim=1)
        self._places = (slots[:, None] * SEEN + rows).flatten()
        there = (segments[:, None] + 1) * SEGMENT + RIGHT
        self.mask = hidden(torch.arange(SEEN) >= there)

    def seen(self, layer: int, projected: Tensor) -> Tensor:
        """Keep keys and values of segments, and return all that they see."""
        kept = self._kept[layer]
        kept.view(-1, kept.shape[2]).index_copy_(0, self._places, projected.flatten(0, 1))
        return kept[self._slots]


class LiveStreams:
    """Up to `most` live streams on one model; used by one thread."""

    def __init__(self, model: Emformer, most: int, tracer: Tracer | None = None) -> None:
        self.most = most
        self._model = model
        self._tracer = tracer
        self._encoder = model.network.transcriber
        self._ring = _Ring(model.config.layers, model.config.width)
        with torch.inference_mode():
            self._start = model.search.start()
            self._beams = self._start.repeated(0)
        self._free: list[int] = []
        self._slots = 0
        self._count = 0

    @property
    def bytes_per_slot(self) -> int:
        """What the tensors of one open stream take."""
        return self._ring.bytes_per_slot + sum(tensor.nbytes for tensor in self._start.tensors)

    @torch.inference_mode()
    def open(self) -> Stream:
        """Start a stream; raises EngineError when there are `most` already."""
        if self._count >= self.most:
            raise EngineError("all places for live streams are taken", self.most, "close one, or wait")
        if not self._free:
            more = max(_FIRST_SLOTS, self._slots)
            self._ring.grow(self._slots + more)
            self._beams = self._beams.joined(self._start.repeated(more))
            self._free = list(range(self._slots + more - 1, self._slots - 1, -1))
            self._slots += more
        self._count += 1
        return Stream(self._free.pop(), Trail(self._model.beam), np.zeros(0, np.float32))

    def close(self, stream: Stream) -> None:
        """Give the stream's slot back."""
        self._free.append(stream.slot)
        self._count -= 1

    @torch.inference_mode()
    def step(self, fed: Sequence[Fed]) -> list[Trail]:
        """Advance each stream, named once, by all segments that its samples complete; return what it says.

        The last samples of an utterance are filled up with zeros; the stream then stands at the start of a new one.
        """
        for each in fed:
            each.stream.waiting = np.concatenate((each.stream.waiting, each.samples))
        while ready := sorted((each for each in fed if _is_ready(each)), key=lambda each: each.stream.slot):
            for start in range(0, len(ready), BLOCK):
                self._advance([each.stream for each in ready[start : start + BLOCK]])
        return [self._end(each.stream) if each.is_last else each.stream.trail for each in fed]

    def _advance(self, streams: Sequence[Stream]) -> None:
        """Compute the next segment of each stream."""
        slots = torch.tensor([stream.slot for stream in streams])
        fresh = torch.tensor([stream.slot for stream in streams if not stream.segments], dtype=torch.long)
        if len(fresh):
            self._ring.reset(fresh)
            self._beams.put(fresh, self._start)
        with self._stage("features"):
            features = self._model.features.segments(torch.from_numpy(np.stack([_window(one) for one in streams])))
        with self._stage("encoder"):
            self._ring.begin(slots, torch.tensor([stream.segments for stream in streams]))
            line = self._encoder.reduced(features)
            frames = self._encoder(torch.cat((line[:, SEGMENT:], line[:, :SEGMENT]), dim=1), self._ring)
        with self._stage("decode"):
            beams, grown = self._model.search.search(self._beams.of(slots), frames)
            self._beams.put(slots, beams)
            follow([stream.trail for stream in streams], grown, SEGMENT)
        for stream in streams:
            stream.segments += 1
            stream.waiting = stream.waiting[SEGMENT_SAMPLES:]

    def _end(self, stream: Stream) -> Trail:
        """Put the stream at the start of a new utterance; return what was said in the one that ended."""
        trail, stream.trail = stream.trail, Trail(self._model.beam)
        stream.waiting, stream.segments = stream.waiting[:0], 0
        return trail

    def _stage(self, name: str) -> AbstractContextManager[None]:
        return nullcontext() if self._tracer is None else self._tracer.span(name, "live")


def _is_ready(fed: Fed) -> bool:
    """Whether a stream has the whole window of a segment, or at its end any sample."""
    waiting = len(fed.stream.waiting)
    return waiting >= WINDOW_SAMPLES or (fed.is_last and waiting > 0)


def _window(stream: Stream) -> NDArray[np.float32]:
    """Return the samples of the next segment and its right context, zeros where there are none."""
    found = stream.waiting[:WINDOW_SAMPLES]
    return np.pad(found, (0, WINDOW_SAMPLES - len(found)))
