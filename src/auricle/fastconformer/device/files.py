"""Whole recordings on a device: their features, and decoding that the host does not steer.

The encoder is that of the CPU; it runs operation by operation, since its shapes are those of the recordings and its
work is large. Decoding is many small operations, so it is a CUDA graph, for batches and lengths rounded up to one of a
few shapes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch

from auricle.fastconformer.device.operations import FIELDS
from auricle.fastconformer.device.step import capture, captured_memory, labels_of
from auricle.fastconformer.tokens import Token
from auricle.turns import give_way

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.fastconformer.device.decoder import Transducer
    from auricle.fastconformer.device.step import Runs
    from auricle.fastconformer.features import LogMel

WINDOW_FRAMES = 8
"""How many frames an iteration looks at: about twice as many as lie between two labels of speech."""

_ITERATIONS = 16
_ROWS, _FRAMES = 8, 64
_MOST_SHAPES = 8


class _Shape:
    """Decoding of so many rows and frames at most."""

    def __init__(self, decoder: Transducer, rows: int, frames: int, device: torch.device, *, graphs: bool) -> None:
        self._decoder = decoder
        self.walks = decoder.walks(rows, frames)
        told = _ITERATIONS * FIELDS * rows + 1
        self._told = torch.zeros(told, dtype=torch.int32, pin_memory=device.type == "cuda")
        self.table = self._told[:-1].view(_ITERATIONS, FIELDS, rows).numpy()
        self._graph: torch.cuda.CUDAGraph | None = None
        if graphs:
            self._graph = capture(self._iterate, captured_memory())

    @property
    def unfinished(self) -> int:
        """How many rows have frames left."""
        return int(self._told[-1])

    def run(self) -> bool:
        """Make some iterations; return whether they ran as a graph."""
        if self._graph is None:
            self._iterate()
        else:
            self._graph.replay()
        if self._told.is_pinned():
            torch.cuda.current_stream().synchronize()
        return self._graph is not None

    def _iterate(self) -> None:
        found = self._decoder.iterate(self.walks, _ITERATIONS, WINDOW_FRAMES)
        self._told.copy_(torch.cat([found.flatten(), self.walks.unfinished[None]]), non_blocking=True)


def features_on(
    device: torch.device, preprocessor: LogMel, batch: Sequence[NDArray[np.float32]]
) -> tuple[Tensor, Tensor]:
    """Return features `(batch, frames, mels)` and their lengths, of recordings `(samples,)`, all on the device."""
    lengths = torch.tensor([len(samples) for samples in batch])
    audio = torch.zeros(len(batch), int(lengths.max()), pin_memory=device.type == "cuda")
    for row, samples in zip(audio.numpy(), batch, strict=True):
        row[: len(samples)] = samples
    features, counts = preprocessor(audio.to(device, non_blocking=True), lengths.to(device))
    return features, counts


class FileDecoder:
    """Decodes batches of recordings with one transducer; used by one thread."""

    def __init__(self, transducer: Transducer, device: torch.device, runs: Runs, *, graphs: bool | None = None) -> None:
        self._runs = runs
        self._decoder, self._device = transducer, device
        self._graphs = device.type == "cuda" if graphs is None else graphs
        self._shapes: OrderedDict[tuple[int, int], _Shape] = OrderedDict()

    @torch.inference_mode()
    def decode(self, frames: Tensor, lengths: Tensor) -> list[list[Token]]:
        """Return the tokens of each recording's encoder frames, `(batch, frames, width)`."""
        batch, size = frames.shape[:2]
        shape = self._shape(batch, size)
        walks = shape.walks
        padded = frames.new_zeros(len(walks.length), walks.projected.shape[1], frames.shape[2])
        padded[:batch, :size] = frames
        counts = lengths.new_zeros(len(walks.length))
        counts[:batch] = lengths
        self._decoder.begin(walks, padded, counts)
        self._decoder.start(walks)
        tokens: list[list[Token]] = [[] for _ in range(batch)]
        while True:
            give_way()
            graphed = shape.run()
            self._runs.graphed += graphed
            self._runs.eager += not graphed
            for row, label, frame, lasts, probability in labels_of(shape.table):
                tokens[row].append(Token(label, frame, lasts, probability))
            if not shape.unfinished:
                return tokens

    def _shape(self, rows: int, frames: int) -> _Shape:
        """Return the smallest of the shapes that hold so many rows and frames, made now or before."""
        key = -(-rows // _ROWS) * _ROWS, -(-frames // _FRAMES) * _FRAMES
        if key not in self._shapes:
            while len(self._shapes) >= _MOST_SHAPES:
                self._shapes.popitem(last=False)
            self._shapes[key] = _Shape(self._decoder, *key, self._device, graphs=self._graphs)
        self._shapes.move_to_end(key)
        return self._shapes[key]
