"""Chunks of live streams in ONNX Runtime: the graph works on the state where it lies.

A step's rows are a part of the state's tensors, whose memory is given to the graph as input and as output at once, so
that keys and values are written in their places and nothing else is copied. Where the slots of a step do not follow
each other, their state is brought together and put back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from auricle.errors import EngineError
from auricle.fastconformer.config import SUBSAMPLING
from auricle.fastconformer.ort.session import failures
from auricle.fastconformer.streaming.block import ENDLESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auricle.fastconformer.config import EncoderConfig
    from auricle.fastconformer.ort.session import Session
    from auricle.fastconformer.streaming.block import Block
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.streaming.state import EncoderState

_MOST_BOUND = 64
"""So many places of a step in memory are remembered with their bindings."""


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A graph bound to memory: what is written before a step, what is read after it."""

    binding: Any
    features: Tensor
    done: Tensor
    total: Tensor
    frames: Tensor
    state: list[Tensor]


class OrtChunkEncoder:
    """Features of one chunk to its encoder frames, as `ChunkEncoder` makes them."""

    def __init__(self, session: Session, config: EncoderConfig) -> None:
        self._session = session
        self._config = config
        self._bound: dict[tuple[int, ...], Bound] = {}

    def __call__(self, features: Tensor, block: Block, latency: LatencyClass, state: EncoderState) -> Tensor:
        """Return encoder frames `(batch, frames, width)` and move the state of the block's slots on by the chunk."""
        if isinstance(block.rows, slice):
            views = [tensor[block.rows] for _, tensor in named(state)]
            bound = self._remembered(views, latency)
        else:
            bound = self._remembered(None, latency, len(features), state)
            for own, (_, tensor) in zip(bound.state, named(state), strict=True):
                torch.index_select(tensor, 0, block.slots, out=own)
        bound.features.copy_(features)
        bound.done.copy_(block.done)
        if block.features is None:
            bound.total.fill_(ENDLESS)
        else:
            bound.total.copy_(block.features)
        try:
            self._session.raw.run_with_iobinding(bound.binding)
        except failures() as error:
            raise EngineError("a step of live streams failed in ONNX Runtime", error, "serve fewer streams") from error
        if not isinstance(block.rows, slice):
            for own, (_, tensor) in zip(bound.state, named(state), strict=True):
                tensor[block.slots] = own
        return bound.frames.clone()

    def _remembered(
        self, views: list[Tensor] | None, latency: LatencyClass, size: int = 0, state: EncoderState | None = None
    ) -> Bound:
        start, rows = (0, size) if views is None else (views[0].data_ptr(), len(views[0]))
        key = (start, rows, latency.ring)
        if key not in self._bound:
            while len(self._bound) >= _MOST_BOUND:
                del self._bound[next(iter(self._bound))]
            if views is None and state is not None:
                views = [tensor.new_zeros(size, *tensor.shape[1:]) for _, tensor in named(state)]
            assert views is not None  # noqa: S101  a state is given where views are not
            self._bound[key] = self._bind(views, latency)
        return self._bound[key]

    def _bind(self, views: list[Tensor], latency: LatencyClass) -> Bound:
        size, frames, mels = len(views[0]), latency.frames, self._config.mels
        given = {
            "features": torch.zeros(size, frames * SUBSAMPLING, mels),
            "done": torch.zeros(size, dtype=torch.int64),
            "total": torch.zeros(size, dtype=torch.int64),
        }
        out = torch.zeros(size, frames, self._config.width)
        binding = self._session.raw.io_binding()
        names = [name for name in self._session.inputs if name not in given]
        for name, tensor in [*given.items(), *zip(names, views, strict=True)]:
            binding.bind_input(name, *_memory(tensor))
        for name, tensor in [
            ("frames", out),
            *((f"{name}.next", view) for name, view in zip(names, views, strict=True)),
        ]:
            binding.bind_output(name, *_memory(tensor))
        return Bound(binding, given["features"], given["done"], given["total"], out, views)


def named(state: EncoderState) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a state, `(slots, ...)`, under the names and in the order of the graph's inputs."""
    for number, parts in enumerate(zip(state.keys, state.values, state.convolutions, strict=True)):
        yield from zip((f"keys.{number}", f"values.{number}", f"convolution.{number}"), parts, strict=True)
    yield from ((f"pre_encoder.{number}", tensor) for number, tensor in enumerate(state.rows))


def _memory(tensor: Tensor) -> tuple[str, int, Any, tuple[int, ...], int]:
    """Return the device, its number, the type, shape and address of a tensor that lies in one piece."""
    kinds = {torch.float32: np.float32, torch.int64: np.int64}
    device = tensor.device
    return device.type, device.index or 0, kinds[tensor.dtype], tuple(tensor.shape), tensor.data_ptr()
