"""Strings of spoken digits, joined from the pieces of a pool on any device: pauses, pace, pitch and loudness.

What is drawn comes from the generator that is given, so that a seed gives the same strings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from tools.training.pool import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from tools.training.pool import Piece

    Drawn = NDArray[np.float64]
    Whole = NDArray[np.int64]

RATE_HZ = 16_000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Root mean square of the speech in every piece.
PIECE_LEVEL = 0.1
_SHARES = {"human": 0.62, "flite": 0.2, "espeak": 0.18}
_SPEECHLESS_SHARE, _MIXED_SHARE = 0.03, 0.15
_SHORTEST_PLACE_S = 0.25
# Machines were told to speak at many a pace already.
_MACHINE_PITCH = 0.6
_WAVERING, _BEND = 0.03, 0.15
_CLIPPED_SHARE, _CLIPPED_S, _CLIPPED_PART = 0.3, 0.05, 6
_LEVEL_SPREAD_DB = 2.0
_IMAGE_SHARE, _IMAGE_DB = 0.5, (-28.0, -6.0)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What befalls the strings of a batch.

    `batches` are the longest seconds, how many strings are in a batch, and how often it is drawn. `pauses` are how many
    pauses are of a kind or of one before it, and the shortest and longest seconds of the kind. `pitch` is the logarithm
    of how much faster and higher a voice may speak, `formants` that of how much smaller its mouth may be, `accent` how
    far single resonances are off. A share `quiet` has no noise, a share `rooms` echoes. `colour` times are spectra
    tilted and bent as by microphones, at most `hidings` bands and stretches of time are hidden.
    """

    batches: tuple[tuple[float, int, float], ...] = ((2.5, 64, 0.3), (4.0, 40, 0.35), (6.5, 24, 0.25), (12.0, 13, 0.1))
    pauses: tuple[tuple[float, float, float], ...] = ((0.3, 0.0, 0.06), (0.9, 0.06, 0.5), (1.0, 0.5, 2.5))
    pitch: float = 0.4
    formants: float = 0.26
    accent: float = 0.05
    quiet: float = 0.12
    snr_db: tuple[float, float] = (0.0, 40.0)
    rooms: float = 0.35
    colour: float = 1.3
    hidings: int = 3


HARD = Conditions()
EASY = Conditions(
    batches=((1.6, 64, 1.0),),
    pauses=((0.5, 0.0, 0.1), (1.0, 0.1, 0.3)),
    pitch=0.1,
    formants=0.05,
    accent=0.0,
    quiet=0.5,
    snr_db=(20.0, 40.0),
    rooms=0.0,
    colour=0.2,
    hidings=0,
)


class Voices:
    """A pool on a device, voice after voice, kind after kind."""

    def __init__(self, pool: Sequence[Piece], device: torch.device) -> None:
        """Take the pieces; each says digits."""
        ordered = sorted(pool, key=lambda piece: (KINDS.index(piece.kind), piece.voice))
        self.samples = torch.from_numpy(np.concatenate([piece.samples for piece in ordered])).to(device)
        self.sizes = np.array([len(piece.samples) for piece in ordered])
        self.firsts = np.cumsum(self.sizes) - self.sizes
        self.is_human = np.array([piece.kind == "human" for piece in ordered])
        said = [[WORDS.index(word) for word in piece.text.split()] for piece in ordered]
        self.words = np.full((len(said), max(map(len, said))), -1)
        for row, words in enumerate(said):
            self.words[row, : len(words)] = words
        # The pieces of a voice and the voices of a kind are neighbours.
        self._piece, self._pieces = _runs([piece.voice for piece in ordered])
        self._voice, self._voices = _runs([ordered[first].kind for first in self._piece])
        shares = np.array([_SHARES[ordered[self._piece[first]].kind] for first in self._voice])
        self._up_to = np.cumsum(shares / shares.sum())

    def draw(self, rng: np.random.Generator, count: int, places: int) -> Whole:
        """Draw pieces `(count, places)`, those of a string nearly always of one voice."""
        shape = (count, places)
        kind = np.searchsorted(self._up_to, rng.random(shape)).clip(max=len(self._up_to) - 1)
        voice = self._voice[kind] + _below(self._voices[kind], rng)
        is_mixed = rng.random((count, 1)) < _MIXED_SHARE
        voice = np.where(is_mixed, voice, voice[:, :1])
        return np.asarray(self._piece[voice] + _below(self._pieces[voice], rng))


def _runs(names: Sequence[str]) -> tuple[Whole, Whole]:
    """Return where each of the different names begins, and how often it stands there."""
    firsts = [place for place, name in enumerate(names) if place == 0 or name != names[place - 1]]
    return np.array(firsts), np.diff(firsts, append=len(names))


def _below(limits: Whole, rng: np.random.Generator) -> Whole:
    return (rng.random(limits.shape) * limits).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where pieces stand in strings; arrays `(batch, places)` in samples, `spans` being 0 where nothing is said.

    A piece is read from `sources` on, `sizes` samples of the pool, and bent: faster at one end than at the other.
    `words` `(batch, most words)` are said, `counts` of them real; `pitch` `(batch,)` is the logarithm of the string's.
    """

    starts: Whole
    spans: Whole
    sources: Whole
    sizes: Whole
    bends: Drawn
    gains: Drawn
    images: Drawn
    words: Whole
    counts: Whole
    lengths: Whole
    pitch: Drawn


def layout(source: Voices, rng: np.random.Generator, conditions: Conditions, larger: int = 1) -> Layout:
    """Draw the strings of a batch that is so many times larger than the conditions have it."""
    kinds = conditions.batches
    longest_s, count, _ = kinds[rng.choice(len(kinds), p=[share for *_, share in kinds])]
    most = round(longest_s * RATE_HZ)
    shape = (rows, places) = (count * larger, math.ceil(longest_s / _SHORTEST_PLACE_S))
    piece = source.draw(rng, *shape)
    human = source.is_human[piece]
    pitch = rng.uniform(-conditions.pitch, conditions.pitch, (rows,))
    own = pitch[:, None] * np.where(human, 1.0, _MACHINE_PITCH)
    pace = np.exp(own + rng.normal(0, _WAVERING, shape))
    before, after = _clipped(source.sizes[piece], human, rng), _clipped(source.sizes[piece], human, rng)
    sizes = source.sizes[piece] - before - after
    spans = np.floor((sizes - 1) / pace).astype(np.int64)
    wanted = rng.uniform(0.5, 1.0, (rows,)) * most
    talkative = np.where(rng.random(rows) < _SPEECHLESS_SHARE, 0, wanted)
    starts, spans, ends = _placed(spans, _pauses(rng, (rows, places + 1), conditions), talkative, most)
    words, counts = _words(np.where((spans > 0)[:, :, None], source.words[piece], -1))
    return Layout(
        starts=starts,
        spans=spans,
        sources=source.firsts[piece] + before,
        sizes=sizes,
        bends=rng.uniform(-_BEND, _BEND, shape),
        gains=decibels(rng.normal(0, _LEVEL_SPREAD_DB, shape)),
        images=np.where(human & (rng.random(shape) < _IMAGE_SHARE), decibels(rng.uniform(*_IMAGE_DB, shape)), 0.0),
        words=words,
        counts=counts,
        lengths=np.where(counts > 0, ends.clip(max=most), wanted.astype(np.int64)),
        pitch=np.where(human[:, 0], pitch, pitch * _MACHINE_PITCH),
    )


def joined(source: Voices, plan: Layout) -> Tensor:
    """Return the strings `(batch, samples)`, each piece read between samples, and silence."""
    device = source.samples.device
    starts, spans, first, sizes = (
        torch.from_numpy(part).to(device) for part in (plan.starts, plan.spans, plan.sources, plan.sizes)
    )
    time = torch.arange(int(plan.lengths.max()), device=device).expand(len(starts), -1).contiguous()
    place = (torch.searchsorted(starts, time, right=True) - 1).clamp(min=0)

    def here(values: Tensor) -> Tensor:
        return values.gather(1, place)

    bends, gains, images = (on(part, device) for part in (plan.bends, plan.gains, plan.images))
    since, span = time - here(starts), here(spans)
    said = (since >= 0) & (since < span)
    part = (since / span.clamp(min=1)).clamp(0, 1)
    at = (part + here(bends) * part * (1 - part)) * (here(sizes) - 1)
    whole = at.floor()
    index = torch.where(said, here(first) + whole.long(), 0)
    samples = torch.lerp(source.samples[index], source.samples[index + 1], at - whole)
    # Speech of a narrow band gets something above it: its own mirror image.
    mirrored = 1 + here(images) * (1 - 2 * (since % 2))
    return torch.where(said, samples * mirrored * here(gains), 0.0)


def on(values: Drawn, device: torch.device) -> Tensor:
    """Return values that were drawn, in single precision on a device."""
    return torch.from_numpy(np.asarray(values, np.float32)).to(device)


def decibels(values: Drawn) -> Drawn:
    """Return the factors of the amplitude."""
    return np.asarray(10 ** (values / 20))


def _clipped(sizes: Whole, human: NDArray[np.bool_], rng: np.random.Generator) -> Whole:
    """Return how many samples a piece lacks at an end: who cuts words out of a recording may cut into them."""
    lost = rng.uniform(0, _CLIPPED_S * RATE_HZ, sizes.shape) * (rng.random(sizes.shape) < _CLIPPED_SHARE) * human
    return np.minimum(lost.astype(np.int64), sizes // _CLIPPED_PART)


def _pauses(rng: np.random.Generator, shape: tuple[int, int], conditions: Conditions) -> Whole:
    """Return pauses in samples, seldom long."""
    shares, shortest, longest = np.array(conditions.pauses).T
    kind = np.searchsorted(shares, rng.random(shape), side="right").clip(max=len(shares) - 1)
    return np.asarray(rng.uniform(shortest[kind], longest[kind]) * RATE_HZ).astype(np.int64)


def _placed(spans: Whole, pauses: Whole, wanted: Drawn, most: int) -> tuple[Whole, Whole, Whole]:
    """Return starts, spans and ends `(batch,)`: each piece that fits within `most`, until there is as much as wanted.

    What does not fit is given no span, and stands where the string then ends.
    """
    starts, end = np.zeros_like(spans), pauses[:, 0].copy()
    fits = np.zeros(spans.shape, dtype=np.bool_)
    for place in range(spans.shape[1]):
        starts[:, place] = end
        fits[:, place] = (end < wanted) & (end + spans[:, place] <= most)
        end += np.where(fits[:, place], spans[:, place] + pauses[:, place + 1], 0)
    return starts, np.where(fits, spans, 0), end


def _words(said: Whole) -> tuple[Whole, Whole]:
    """Return words `(batch, most words)` and their counts, of `(batch, places, words)` with -1 for none."""
    flat = said.reshape(len(said), -1)
    order = np.argsort(flat < 0, axis=1, kind="stable")
    counts = (flat >= 0).sum(axis=1)
    words = np.take_along_axis(flat, order, axis=1)[:, : max(1, int(counts.max()))]
    return words.clip(min=0), counts
