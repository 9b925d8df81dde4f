"""Whole recordings on a device: their features, and decoding that the host does not steer.

The encoder is that of the CPU; it runs operation by operation, since its shapes are those of the recordings and its
work is large. Decoding is many small operations, so it is a CUDA graph, for batches and lengths rounded up to one of a
few shapes, and another one where there are key phrases.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch

from auricle.fastconformer.boosting import Library
from auricle.fastconformer.device.beam import BeamSearch, FileBeams
from auricle.fastconformer.device.decoder import Transducer, labels_of
from auricle.fastconformer.device.operations import FIELDS
from auricle.fastconformer.device.step import CARD, capture, captured_memory
from auricle.fastconformer.phrases import MOST_ARCS_IN_A_TREE, MOST_STATES
from auricle.fastconformer.tokens import Token
from auricle.turns import give_way

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.fastconformer.device.step import Runs
    from auricle.fastconformer.features import LogMel
    from auricle.fastconformer.phrases import Phrases

WINDOW_FRAMES = 8
"""How many frames an iteration looks at: about twice as many as lie between two labels of speech."""

_ITERATIONS = 16
_ROWS, _FRAMES = 8, 64
_MOST_SHAPES = 8


class FileDecoding(Protocol):
    """Decoding of batches of one shape, in tensors that stay where they are, by operations of fixed shapes."""

    @property
    def numbers(self) -> int:
        """How many whole numbers of 32 bits a run tells; the last is how many rows are not done."""
        ...

    def begin(self, frames: Tensor, lengths: Tensor, root: int) -> None:
        """Stand at the start of encoder frames `(rows, frames, width)`, at the root of key phrases, 0 for none."""
        ...

    def run(self, *, boosted: bool) -> Tensor:
        """Decode on; return what was found, `(numbers,)`. Where it is not `boosted` there are no key phrases."""
        ...

    def tell(self, numbers: NDArray[np.int32], said: list[list[Token]]) -> None:
        """Bring what each recording of the batch has said up to what a run found."""
        ...


class FileLabels:
    """Greedy decoding, see `FileDecoding`."""

    def __init__(self, decoder: Transducer, library: Library, rows: int, frames: int) -> None:
        self._decoder, self._library = decoder, library
        self._walks = decoder.walks(rows, frames)
        self._shape = _ITERATIONS, FIELDS, rows

    @property
    def numbers(self) -> int:
        """How many whole numbers a run tells."""
        return _ITERATIONS * FIELDS * self._shape[2] + 1

    def begin(self, frames: Tensor, lengths: Tensor, root: int) -> None:
        """Stand at the start of encoder frames."""
        self._decoder.begin(self._walks, frames, lengths)
        self._decoder.start(self._walks, root)

    def run(self, *, boosted: bool) -> Tensor:
        """Decode on."""
        trees = self._library.trees if boosted else None
        found = self._decoder.iterate(self._walks, _ITERATIONS, WINDOW_FRAMES, trees)
        return torch.cat([found.flatten(), self._walks.unfinished[None]])

    def tell(self, numbers: NDArray[np.int32], said: list[list[Token]]) -> None:
        """Add what a run found."""
        for row, label, frame, lasts, probability in labels_of(numbers[:-1].reshape(self._shape)):
            said[row].append(Token(label, frame, lasts, probability))


class _Shape:
    """Decoding of so many rows and frames at most, each way of it as a graph if there are to be any."""

    def __init__(self, decoding: FileDecoding, rows: int, frames: int, device: torch.device, *, graphs: bool) -> None:
        self.decoding = decoding
        self.rows, self.frames = rows, frames
        self._told = torch.zeros(decoding.numbers, dtype=torch.int32, pin_memory=device.type == "cuda")
        self.numbers = self._told.numpy()
        self._has_graphs = graphs
        self._graphs: dict[bool, torch.cuda.CUDAGraph] = {}

    def prepare(self, *, boosted: bool) -> None:
        """Capture this way of decoding, if it is not yet."""
        if self._has_graphs and boosted not in self._graphs:
            self._graphs[boosted] = capture(partial(self._run, boosted=boosted), captured_memory())

    def run(self, *, boosted: bool) -> bool:
        """Decode on; return whether it was as a graph."""
        if self._has_graphs:
            self._graphs[boosted].replay()
        else:
            self._run(boosted=boosted)
        if self._told.is_pinned():
            torch.cuda.current_stream().synchronize()
        return self._has_graphs

    def _run(self, *, boosted: bool) -> None:
        self._told.copy_(self.decoding.run(boosted=boosted), non_blocking=True)


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
    """Decodes batches of recordings, greedily or by a beam; used by one thread."""

    def __init__(
        self, decoder: Transducer | BeamSearch, device: torch.device, runs: Runs, *, graphs: bool | None = None
    ) -> None:
        self._runs = runs
        self._decoder, self._device = decoder, device
        self._library = Library(1 + MOST_STATES, MOST_ARCS_IN_A_TREE, device)
        self._graphs = device.type == "cuda" if graphs is None else graphs
        self._shapes: OrderedDict[tuple[int, int], _Shape] = OrderedDict()

    @torch.inference_mode()
    def decode(self, frames: Tensor, lengths: Tensor, phrases: Phrases = ()) -> list[list[Token]]:
        """Return the tokens of each recording's encoder frames, `(batch, frames, width)`, which prefer key phrases."""
        with CARD:
            root = self._library.add(phrases)
        try:
            return self._decode(frames, lengths, root)
        finally:
            self._library.drop(root)

    def _decode(self, frames: Tensor, lengths: Tensor, root: int) -> list[list[Token]]:
        batch, size = frames.shape[:2]
        shape = self._shape(batch, size)
        shape.prepare(boosted=bool(root))
        padded = frames.new_zeros(shape.rows, shape.frames, frames.shape[2])
        padded[:batch, :size] = frames
        counts = lengths.new_zeros(shape.rows)
        counts[:batch] = lengths
        shape.decoding.begin(padded, counts, root)
        said: list[list[Token]] = [[] for _ in range(batch)]
        while True:
            give_way()
            graphed = shape.run(boosted=bool(root))
            self._runs.graphed += graphed
            self._runs.eager += not graphed
            shape.decoding.tell(shape.numbers, said)
            if not shape.numbers[-1]:
                return said

    def _shape(self, rows: int, frames: int) -> _Shape:
        """Return the smallest of the shapes that hold so many rows and frames, made now or before."""
        key = -(-rows // _ROWS) * _ROWS, -(-frames // _FRAMES) * _FRAMES
        if key not in self._shapes:
            while len(self._shapes) >= _MOST_SHAPES:
                self._shapes.popitem(last=False)
            self._shapes[key] = _Shape(self._decoding(*key), *key, self._device, graphs=self._graphs)
        self._shapes.move_to_end(key)
        return self._shapes[key]

    def _decoding(self, rows: int, frames: int) -> FileDecoding:
        if isinstance(self._decoder, BeamSearch):
            return FileBeams(self._decoder, self._library, rows, frames)
        return FileLabels(self._decoder, self._library, rows, frames)
