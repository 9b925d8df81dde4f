"""Beam search chunk after chunk: exactly what it gives for the whole utterance at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from auricle.fastconformer.boosting import Boost
from auricle.fastconformer.hypotheses import Trail, best_of
from auricle.fastconformer.memory import LARGEST_LAG_FRAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.beam import BeamDecoder
    from auricle.fastconformer.boosting import Library
    from auricle.fastconformer.tokens import Token


class ChunkBeam:
    """Remembers for every slot the hypotheses, and the frames that the slowest of them has yet to look at."""

    def __init__(self, decoder: BeamDecoder, library: Library) -> None:
        self._decoder = decoder
        self._library = library
        self._start = decoder.start(1)
        self._beams = decoder.start(0)
        self._nothing = self._beams.memory.said
        self._unread: list[Tensor] = []
        self._trails: list[Trail] = []
        self._roots = torch.zeros(0, dtype=torch.long)
        self._settled: list[int] = []

    @property
    def bytes_per_slot(self) -> int:
        """Bytes that one stream's memory takes at most, a few whole numbers and the tokens left out."""
        frames = LARGEST_LAG_FRAMES * self._nothing.shape[1] * self._nothing.element_size()
        return frames + sum(tensor.numel() * tensor.element_size() for tensor in self._start.tensors)

    def grow(self, slots: int) -> None:
        """Make room for as many slots in all."""
        more = slots - len(self._trails)
        self._beams = self._beams.joined(self._decoder.start(more))
        self._roots = torch.cat((self._roots, torch.zeros(more, dtype=torch.long)))
        self._unread += [self._nothing] * more
        self._trails += [Trail(self._decoder.size) for _ in range(more)]
        self._settled += [0] * more

    def ask(self, slot: int, root: int) -> None:
        """Let the stream in a slot have the key phrases of a root, 0 for none."""
        self._roots[slot] = root

    def reset(self, slots: Tensor) -> None:
        """Forget what was heard in these slots."""
        self._beams.put(slots, self._start.of(torch.zeros_like(slots)))
        self._beams.phrases[slots] = self._roots[slots, None]
        for slot in slots.tolist():
            self._unread[slot], self._trails[slot], self._settled[slot] = self._nothing, Trail(self._decoder.size), 0

    def decode(self, frames: Tensor, slots: Tensor, lengths: Sequence[int]) -> list[list[Token]]:
        """Return the tokens of each utterance so far, its chunk being `(batch, frames, width)`, `lengths` real.

        They are those of the best hypothesis, counted from the start of the utterance; another may be best next time.
        """
        for slot, length, projected in zip(slots.tolist(), lengths, self._decoder.project(frames), strict=True):
            if length:
                self._unread[slot] = torch.cat((self._unread[slot], projected[:length]))
        return self._search(slots, ends=False)

    def finish(self, slots: Tensor) -> list[list[Token]]:
        """Return the tokens of utterances that have ended."""
        return self._search(slots, ends=True)

    def settled(self, slot: int) -> int:
        """Return how many tokens of an utterance will not change any more."""
        return self._settled[slot]

    def _search(self, slots: Tensor, *, ends: bool) -> list[list[Token]]:
        rows = slots.tolist()
        unread, trails = [self._unread[slot] for slot in rows], [self._trails[slot] for slot in rows]
        lengths = torch.tensor([len(frames) for frames in unread])
        boost = None
        if self._roots[slots].any():
            boost = Boost(self._library.trees, self._roots[slots], self._library.width)
        projected = pad_sequence(unread, batch_first=True)
        beams = self._decoder.search(
            self._beams.of(slots), projected, lengths, torch.full_like(lengths, ends, dtype=torch.bool), trails, boost
        )
        alive = beams.scores > -math.inf
        read = torch.where(alive, beams.frames, projected.shape[1]).amin(dim=1).minimum(lengths)
        beams.frames = (beams.frames - read[:, None]).clamp(min=0)
        self._beams.put(slots, beams)
        for slot, trail, frames, count, living in zip(rows, trails, unread, read.tolist(), alive.tolist(), strict=True):
            self._unread[slot] = frames[count:]
            self._settled[slot] = trail.agreed(living)
            trail.start += count
        return [trail.tokens(which) for trail, which in zip(trails, best_of(beams).tolist(), strict=True)]
