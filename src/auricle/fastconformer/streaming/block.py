"""One step's chunks of one latency class, brought to the shape in which they are computed together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from auricle.fastconformer.config import SUBSAMPLING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.streaming.latency import LatencyClass

ENDLESS = 1 << 40
"""Feature frames of an utterance whose end is not known yet."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next chunk of the stream in `slot`, after `done` others of its utterance.

    `audio` holds the samples before the chunk that its features see too; `features` and `frames` are how many of the
    utterance there are in all up to its end, and in this chunk, when the chunk is the last.
    """

    slot: int
    done: int
    audio: NDArray[np.float32]
    features: int | None = None
    frames: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Tensors with one row per chunk.

    `audio` is `(batch, samples)`; `done` how many chunks of the utterance came before. `slots` are the rows of the
    state, and `rows` are too, as a slice if they follow each other, so that nothing is copied; `written`, `(batch,
    frames)`, the places of the rings that the chunk goes to, and `places`, `(batch, frames, ring)`, where in a table
    of distances each query finds each place. What is None would change no row: `samples`, how many of each row are
    audio; `first_features` and `features`, the number of the first feature frame and of all that there are; `hidden`,
    `(batch, 1, 1, ring)`, minus infinity where a ring holds nothing that may be seen.
    """

    audio: Tensor
    done: Tensor
    slots: Tensor
    rows: Tensor | slice
    written: Tensor
    places: Tensor
    samples: Tensor | None
    first_features: Tensor | None
    features: Tensor | None
    hidden: Tensor | None


def make_block(chunks: Sequence[Chunk], size: int, spare: int, latency: LatencyClass, samples: int) -> Block:
    """Return the block of `size` rows of `samples` samples; the rows without a chunk all work on the `spare` slot."""
    audio = np.zeros((size, samples), np.float32)
    for row, chunk in zip(audio, chunks, strict=False):
        row[: len(chunk.audio)] = chunk.audio
    rows = [*chunks, *[Chunk(spare, latency.turns, audio[-1])] * (size - len(chunks))]
    slots = [chunk.slot for chunk in rows]
    follow = slots == list(range(slots[0], slots[0] + size))
    done = torch.tensor([chunk.done for chunk in rows])
    ends = any(chunk.features is not None for chunk in rows)
    young = any(chunk.done * latency.frames < latency.left for chunk in rows)
    turns = done % latency.turns
    frames = torch.arange(latency.frames)
    time = times(latency)[turns]
    masked = ends or any(chunk.done == 0 for chunk in rows)
    return Block(
        torch.from_numpy(audio),
        done,
        torch.tensor(slots),
        slice(slots[0], slots[0] + size) if follow else torch.tensor(slots),
        turns[:, None] * latency.frames + frames,
        latency.ring - 1 - frames[:, None] + time[:, None],
        torch.tensor([len(chunk.audio) for chunk in rows]) if ends else None,
        SUBSAMPLING * (latency.frames * done - 1) + 1 if masked else None,
        torch.tensor([ENDLESS if one.features is None else one.features for one in rows]) if masked else None,
        _hidden(rows, done, time, latency) if ends or young else None,
    )


def _hidden(rows: Sequence[Chunk], done: Tensor, time: Tensor, latency: LatencyClass) -> Tensor:
    """Return what hides the places of each ring that were not filled yet, or lie beyond the end."""
    # A frame beyond the end sees the first of its chunk, since a softmax over nothing is not a number.
    real = torch.tensor([latency.frames if one.features is None else max(one.frames, 1) for one in rows])[:, None]
    seen = (time < real) & (time >= -latency.frames * done[:, None])
    return torch.zeros(seen.shape).masked_fill(~seen, -math.inf)[:, None, None]


def times(latency: LatencyClass) -> Tensor:
    """Return which frame each place of a ring holds, `(turns, ring)`, when a chunk has just gone to each turn in order.

    Frames are counted from the first of the chunk; those before it are -1, -2 and so on.
    """
    turn = torch.arange(latency.turns)[:, None] * latency.frames
    after = (torch.arange(latency.ring) - turn) % latency.ring
    return torch.where(after < latency.frames, after, after - latency.ring)
