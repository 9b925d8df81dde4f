"""Greedy decoding of chunk after chunk: what a stream's decoder carries from one to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from auricle.fastconformer.boosting import Boost
from auricle.fastconformer.transducer import Walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.boosting import Library
    from auricle.fastconformer.ctc import CtcHead
    from auricle.fastconformer.tokens import Token
    from auricle.fastconformer.transducer import GreedyDecoder


class ChunkDecoder(Protocol):
    """Turns encoder frames to tokens; it remembers something for every slot."""

    @property
    def bytes_per_slot(self) -> int:
        """Bytes that one stream's memory takes, a few whole numbers left out."""
        ...

    def grow(self, slots: int) -> None:
        """Make room for as many slots in all."""
        ...

    def ask(self, slot: int, root: int) -> None:
        """Let the stream in a slot have the key phrases of a root, 0 for none."""
        ...

    def reset(self, slots: Tensor) -> None:
        """Forget what was heard in these slots."""
        ...

    def decode(self, frames: Tensor, slots: Tensor, lengths: Sequence[int]) -> list[list[Token]]:
        """Return the tokens of a chunk, `(batch, frames, width)`, of which `lengths` are real, counted from its start.

        A token at frame -1 goes on with the last one of the chunk before.
        """
        ...


class ChunkTransducer:
    """RNN-T and TDT: the prediction network's memory, how many frames a jump goes beyond the chunk, key phrases."""

    def __init__(self, decoder: GreedyDecoder, library: Library) -> None:
        self._decoder = decoder
        self._library = library
        self._start = decoder.start(1)
        self._memory = decoder.start(0)
        self._beyond: list[int] = []
        self._roots = torch.zeros(0, dtype=torch.long)
        self._states = torch.zeros(0, dtype=torch.long)

    @property
    def bytes_per_slot(self) -> int:
        """Bytes that one stream's memory takes, a few whole numbers left out."""
        start = (self._start.said, self._start.hidden, self._start.cells)
        return sum(tensor.numel() * tensor.element_size() for tensor in start)

    def grow(self, slots: int) -> None:
        """Make room for as many slots in all."""
        self._memory = self._memory.joined(self._decoder.start(slots - len(self._beyond)))
        new = torch.zeros(slots - len(self._beyond), dtype=torch.long)
        self._roots, self._states = torch.cat((self._roots, new)), torch.cat((self._states, new))
        self._beyond += [0] * len(new)

    def ask(self, slot: int, root: int) -> None:
        """Let the stream in a slot have the key phrases of a root, 0 for none."""
        self._roots[slot] = root

    def reset(self, slots: Tensor) -> None:
        """Forget what was heard in these slots."""
        self._memory.put(slots, self._start)
        self._states[slots] = self._roots[slots]
        for slot in slots.tolist():
            self._beyond[slot] = 0

    def decode(self, frames: Tensor, slots: Tensor, lengths: Sequence[int]) -> list[list[Token]]:
        """Return the tokens of a chunk, `(batch, frames, width)`, counted from its start; `lengths` frames are real."""
        rows, memory = slots.tolist(), self._memory.of(slots)
        walks = [Walk(length, self._beyond[slot]) for slot, length in zip(rows, lengths, strict=True)]
        boost = None
        if self._roots[slots].any():
            boost = Boost(self._library.trees, self._states[slots], self._library.width)
        self._decoder.walk(walks, frames, memory, boost, whole=True)
        self._memory.put(slots, memory)
        if boost is not None:
            self._states[slots] = boost.states
        for slot, walk in zip(rows, walks, strict=True):
            self._beyond[slot] = walk.frame - walk.length
        return [walk.tokens for walk in walks]


class ChunkCtc:
    """CTC: the label of the last frame, which the next one may repeat."""

    def __init__(self, head: CtcHead) -> None:
        self._head = head
        self._last: list[int | None] = []

    @property
    def bytes_per_slot(self) -> int:
        """Bytes that one stream's memory takes, a few whole numbers left out."""
        return 0

    def grow(self, slots: int) -> None:
        """Make room for as many slots in all."""
        self._last += [None] * (slots - len(self._last))

    def ask(self, slot: int, root: int) -> None:
        """Key phrases were refused before a stream came here."""

    def reset(self, slots: Tensor) -> None:
        """Forget what was heard in these slots."""
        for slot in slots.tolist():
            self._last[slot] = None

    def decode(self, frames: Tensor, slots: Tensor, lengths: Sequence[int]) -> list[list[Token]]:
        """Return the tokens of a chunk, `(batch, frames, width)`, of which `lengths` are real, counted from its start.

        A token at frame -1 goes on with the last one of the chunk before.
        """
        best, labels = self._head(frames).max(dim=2)
        found = []
        for row, (slot, length) in enumerate(zip(slots.tolist(), lengths, strict=True)):
            said, probabilities = labels[row, :length].numpy(), best[row].exp().numpy()
            tokens = self._head.joined(said, probabilities)
            if tokens and tokens[0].frame == 0 and tokens[0].index == self._last[slot]:
                tokens[0] = replace(tokens[0], frame=-1)
            if length:
                self._last[slot] = int(said[-1])
            found.append(tokens)
        return found
