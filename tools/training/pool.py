"""Pieces of speech to train on, in a file that is read without a decoder of audio."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from auricle.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

KINDS = ("human", "flite", "espeak")


class Piece(NamedTuple):
    """What one voice says: samples `(samples,)` at 16 kHz, the text, whose voice, and one of `KINDS`."""

    samples: Samples
    text: str
    voice: str
    kind: str


def save(pieces: Sequence[Piece], path: Path, bits: int = 16) -> None:
    """Write a pool, whose name ends with `.npz`, with so many bits a sample.

    The differences of samples are kept, which take half the room.
    """
    facts = [(len(piece.samples), piece.text, piece.voice, piece.kind) for piece in pieces]
    joined = np.concatenate([piece.samples for piece in pieces]).astype(np.float64)
    loudest = 2 ** (bits - 1) - 1
    steps = np.diff(np.round(joined * loudest).clip(-loudest, loudest).astype(np.int16), prepend=np.int16(0))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, steps=steps, loudest=np.array(loudest), facts=np.array(json.dumps(facts)))


def load(path: Path) -> list[Piece]:
    """Read a pool."""
    with np.load(path) as kept:
        samples = np.cumsum(kept["steps"], dtype=np.int16).astype(np.float32) / np.float32(kept["loudest"])
        facts = json.loads(str(kept["facts"]))
    ends = np.cumsum([length for length, *_ in facts])
    return [Piece(samples[end - fact[0] : end], *fact[1:]) for end, fact in zip(ends, facts, strict=True)]
