"""The decoder's part in live streams on a device: what it keeps of every slot, and what it makes of a block's frames.

This is the greedy form; `beam` has the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from auricle.fastconformer.device.decoder import labels_of
from auricle.fastconformer.device.operations import FIELDS
from auricle.fastconformer.tokens import Token

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.fastconformer.boosting import Library
    from auricle.fastconformer.device.decoder import Transducer
    from auricle.fastconformer.device.inputs import Inputs
    from auricle.fastconformer.device.operations import Walks
    from auricle.fastconformer.streaming.streams import Stream

_ITERATIONS, _FRAMES_PER_ITERATION = 3, 3
"""A run makes three iterations, and one more for every three frames: about as many as a chunk of speech needs."""


class Decoding(Protocol):
    """Decoding of blocks of one shape, in tensors that stay where they are, by operations of fixed shapes."""

    @property
    def numbers(self) -> int:
        """How many whole numbers of 32 bits a run tells; the last is how many rows are not done."""
        ...

    def begin(self, frames: Tensor, inputs: Inputs) -> None:
        """Stand where the block's streams stand, before encoder frames `(rows, frames, width)`."""
        ...

    def run(self, inputs: Inputs, *, boosted: bool) -> Tensor:
        """Decode on, and keep where the streams stand then; return what was found, `(numbers,)`.

        Where it is not `boosted` no stream has key phrases.
        """
        ...

    def tell(self, numbers: NDArray[np.int32], streams: Sequence[Stream]) -> None:
        """Tell the streams of the block what a run found."""
        ...


class StreamDecoder(Protocol):
    """What a decoder keeps of every slot, the last of which is the spare one."""

    @property
    def bytes_per_slot(self) -> int:
        """Bytes that one stream's memory takes."""
        ...

    @property
    def most_rows(self) -> int | None:
        """How many rows a block has at most, None for any number."""
        ...

    @property
    def needs_every_end(self) -> bool:
        """Whether an end must be told where the last chunk has no frame."""
        ...

    def decoding(self, rows: int, frames: int) -> Decoding:
        """Return the decoding of blocks of so many rows and frames."""
        ...

    def forget(self, slot: int) -> None:
        """Let an utterance begin in a slot, as far as the host knows of it."""
        ...


class TransducerMemory:
    """Greedy decoding: the prediction network's memory, how far a jump goes beyond the chunk, and key phrases."""

    most_rows = None
    needs_every_end = False

    def __init__(self, decoder: Transducer, slots: int, library: Library) -> None:
        self._decoder, self._library = decoder, library
        self._start = decoder.nothing_said
        said, *state = self._start
        self._said = said.repeat(slots + 1, 1)
        self._hidden, self._cells = (each.repeat(1, slots + 1, 1) for each in state)
        self._beyond, self._phrases = torch.zeros(2, slots + 1, dtype=torch.int64, device=said.device).unbind()

    @property
    def bytes_per_slot(self) -> int:
        """Bytes that one stream's memory takes."""
        whole = self._beyond.element_size() + self._phrases.element_size()
        return sum(each.numel() * each.element_size() for each in self._start) + whole

    def decoding(self, rows: int, frames: int) -> GreedyDecoding:
        """Return the decoding of blocks of so many rows and frames."""
        return GreedyDecoding(self._decoder, self, self._library, rows, frames)

    def forget(self, slot: int) -> None:
        """The host knows nothing of an utterance."""

    def load(self, walks: Walks, inputs: Inputs) -> None:
        """Set the walks to where the block's streams stand; those that begin have said nothing."""
        fresh, slots = inputs.fresh[:, None], inputs.slots
        said, hidden, cells = self._start
        walks.said.copy_(torch.where(fresh, said, self._said[slots]))
        walks.hidden.copy_(torch.where(fresh, hidden, self._hidden[:, slots]))
        walks.cells.copy_(torch.where(fresh, cells, self._cells[:, slots]))
        walks.frame.copy_(torch.where(inputs.fresh, 0, self._beyond[slots]))
        walks.phrases.copy_(torch.where(inputs.fresh, inputs.roots, self._phrases[slots]))

    def keep(self, walks: Walks, inputs: Inputs) -> None:
        """Keep where the walks stand; a jump may lead beyond the chunk."""
        slots = inputs.slots
        self._said[slots] = walks.said
        self._hidden[:, slots] = walks.hidden
        self._cells[:, slots] = walks.cells
        self._beyond[slots] = walks.frame - walks.length
        self._phrases[slots] = walks.phrases


class GreedyDecoding:
    """See `Decoding`."""

    def __init__(self, decoder: Transducer, memory: TransducerMemory, library: Library, rows: int, frames: int) -> None:
        self._decoder, self._memory, self._library = decoder, memory, library
        self.walks = decoder.walks(rows, frames)
        self.iterations = _ITERATIONS + frames // _FRAMES_PER_ITERATION
        self._shape = self.iterations, FIELDS, rows

    @property
    def numbers(self) -> int:
        """How many whole numbers a run tells."""
        turns, fields, rows = self._shape
        return turns * fields * rows + 1

    def begin(self, frames: Tensor, inputs: Inputs) -> None:
        """Stand where the block's streams stand."""
        self._decoder.begin(self.walks, frames, inputs.frames)
        self._memory.load(self.walks, inputs)

    def run(self, inputs: Inputs, *, boosted: bool) -> Tensor:
        """Decode on."""
        trees = self._library.trees if boosted else None
        found = self._decoder.iterate(self.walks, self.iterations, trees=trees)
        self._memory.keep(self.walks, inputs)
        return torch.cat([found.flatten(), self.walks.unfinished[None]])

    def tell(self, numbers: NDArray[np.int32], streams: Sequence[Stream]) -> None:
        """Tell the streams what a run found."""
        for row, label, frame, frames, probability in labels_of(numbers[:-1].reshape(self._shape)):
            stream = streams[row]
            stream.tokens.append(Token(label, frame + stream.chunks * stream.latency.frames, frames, probability))
