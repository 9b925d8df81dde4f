"""Strings of spoken digits as a line may bring them: pauses, pace and pitch, loudness, noise, bandwidth.

Everything is drawn from the generator that is given, so that a seed gives the same sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tools.training.learner import MEL_MEAN, Batch
from tools.training.speech import PIECE_LEVEL, Piece

from auricle.audio import SAMPLE_RATE
from auricle.corpus import flite
from auricle.corpus.noise import make_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tools.training.learner import Learner
    from torch import Tensor

    Samples = NDArray[np.float32]

_HUMAN_SHARE, _FLITE_SHARE = 0.62, 0.2
_SPEECHLESS_SHARE, _MIXED_SHARE = 0.03, 0.15
_TRIES = 4
_SLOWEST, _FASTEST, _WAVERING = 0.82, 1.24, 0.03
_LEVELS_DB, _LEVEL_SPREAD_DB = (-22.0, 8.0), 2.0
_IMAGE_SHARE, _IMAGE_DB = 0.5, (-28.0, -6.0)
_NARROW_SHARE, _NARROW_TAPS = 0.35, 47
_BANK_S, _BABBLERS = 60, 12
_SEED = 3
_TILT, _BUMP, _BUMPS = 1.2, 1.0, 3
_HIDDEN_BANDS, _HIDDEN_FRAMES = 12, 8
_FLOOR = float(np.log(2.0**-24))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What befalls the strings of a batch.

    `batches` are the longest seconds, how many strings are in a batch, and how often it is drawn. `pauses` are how many
    pauses are of a kind or of one before it, and the shortest and longest seconds of the kind. A share `quiet` has no
    noise. `colour` times are spectra tilted and bent as by microphones and rooms, at most `hidings` bands and stretches
    of time are hidden.
    """

    batches: tuple[tuple[float, int, float], ...] = ((2.5, 64, 0.3), (4.0, 40, 0.35), (6.5, 24, 0.25), (12.0, 13, 0.1))
    pauses: tuple[tuple[float, float, float], ...] = ((0.3, 0.0, 0.06), (0.9, 0.06, 0.5), (1.0, 0.5, 2.5))
    quiet: float = 0.12
    snr_db: tuple[float, float] = (3.0, 40.0)
    colour: float = 1.0
    hidings: int = 2


HARD = Conditions()
EASY = Conditions(
    batches=((1.6, 64, 1.0),),
    pauses=((0.5, 0.0, 0.1), (1.0, 0.1, 0.3)),
    quiet=0.5,
    snr_db=(20.0, 40.0),
    colour=0.2,
    hidings=0,
)


@dataclass(frozen=True, slots=True)
class Voices:
    """The pool by voice, and noises of unit power, `(samples,)` each, to mix with it."""

    human: tuple[Sequence[Piece], ...]
    flite: tuple[Sequence[Piece], ...]
    other: tuple[Sequence[Piece], ...]
    noises: tuple[Samples, ...]


def voices(pool: Sequence[Piece]) -> Voices:
    """Sort a pool by voice and make noises: white, pink, hum, and babble of what the pool says, backwards."""
    by_voice: dict[str, list[Piece]] = {}
    for piece in pool:
        by_voice.setdefault(piece.voice, []).append(piece)
    groups: dict[str, list[Sequence[Piece]]] = {"human": [], "flite": [], "other": []}
    for name, pieces in sorted(by_voice.items()):
        kind = "human" if pieces[0].is_human else "flite" if name in flite.VOICES else "other"
        groups[kind].append(pieces)
    noises = _noises(pool, np.random.default_rng(_SEED))
    return Voices(tuple(groups["human"]), tuple(groups["flite"]), tuple(groups["other"]), noises)


def training_batch(
    source: Voices, tokens: Tensor, learner: Learner, rng: np.random.Generator, conditions: Conditions = HARD
) -> Batch:
    """Draw a batch of strings; `tokens` are the labels of the words."""
    kinds = conditions.batches
    longest, count, _ = kinds[rng.choice(len(kinds), p=[share for *_, share in kinds])]
    wanted = (float(rng.uniform(0.5, 1.0)) * longest for _ in range(count))
    drawn = [training_string(source, seconds, longest, rng, conditions) for seconds in wanted]
    audio, lengths, words, counts = padded(drawn)
    features, frames = learner.features(audio, lengths)
    return Batch(_disturbed(features, frames, conditions, rng), frames, tokens[words], counts)


def training_string(
    source: Voices, wanted_s: float, longest_s: float, rng: np.random.Generator, conditions: Conditions = HARD
) -> tuple[Samples, list[int]]:
    """Draw a string of at least `wanted_s` seconds where that is possible within `longest_s`, and its words."""
    speaker = _speaker(source, rng)
    is_mixed = rng.random() < _MIXED_SHARE
    pace = float(np.exp(rng.uniform(np.log(_SLOWEST), np.log(_FASTEST))))
    parts, words = [pause(rng, conditions)], list[int]()
    length = len(parts[0])
    least, most = round(wanted_s * SAMPLE_RATE), round(longest_s * SAMPLE_RATE)
    tries = 0 if rng.random() < _SPEECHLESS_SHARE else _TRIES
    while length < least and tries:
        piece = speaker[int(rng.integers(len(speaker)))]
        said = _paced(piece.samples, pace * float(np.exp(rng.normal(0, _WAVERING))))
        if length + len(said) > most:
            tries -= 1
            continue
        if piece.is_human and rng.random() < _IMAGE_SHARE:
            said = _imaged(said, _decibels(rng.uniform(*_IMAGE_DB)))
        said = said * np.float32(_decibels(rng.normal(0, _LEVEL_SPREAD_DB)))
        parts += [said, pause(rng, conditions)]
        words += piece.words
        length += len(said) + len(parts[-1])
        speaker = _speaker(source, rng) if is_mixed else speaker
    string = np.concatenate(parts)[:most] if words else np.zeros(least, np.float32)
    return _placed(string, source.noises, conditions, rng), words


def padded(drawn: Sequence[tuple[Samples, list[int]]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return audio `(batch, samples)`, its lengths, words `(batch, most words)` and their counts."""
    audio = np.zeros((len(drawn), max(len(samples) for samples, _ in drawn)), np.float32)
    said = torch.zeros(len(drawn), max(1, *(len(words) for _, words in drawn)), dtype=torch.long)
    for row, (samples, words) in enumerate(drawn):
        audio[row, : len(samples)] = samples
        said[row, : len(words)] = torch.tensor(words)
    lengths = torch.tensor([len(samples) for samples, _ in drawn])
    return torch.from_numpy(audio), lengths, said, torch.tensor([len(words) for _, words in drawn])


def _speaker(source: Voices, rng: np.random.Generator) -> Sequence[Piece]:
    place = rng.random()
    group = source.other
    if place < _HUMAN_SHARE:
        group = source.human
    elif place < _HUMAN_SHARE + _FLITE_SHARE:
        group = source.flite
    return group[int(rng.integers(len(group)))]


def pause(rng: np.random.Generator, conditions: Conditions = HARD) -> Samples:
    """Return silence, seldom long."""
    kind = rng.random()
    shortest, longest = next(seconds for share, *seconds in conditions.pauses if kind < share)
    return np.zeros(round(rng.uniform(shortest, longest) * SAMPLE_RATE), np.float32)


def _paced(samples: Samples, pace: float) -> Samples:
    """Return the samples faster and higher, or slower and lower."""
    places = np.arange(0, len(samples) - 1, pace)
    return np.asarray(np.interp(places, np.arange(len(samples)), samples), np.float32)


def _imaged(samples: Samples, gain: float) -> Samples:
    """Give speech of a narrow band something above it: its own mirror image."""
    image = samples * np.float32(gain)
    image[1::2] *= -1
    return samples + image


def _placed(string: Samples, noises: Sequence[Samples], conditions: Conditions, rng: np.random.Generator) -> Samples:
    """Set a string's loudness, and put it into noise and perhaps into the band of a telephone."""
    level = _decibels(rng.uniform(*_LEVELS_DB))
    if rng.random() >= conditions.quiet:
        noise = noises[int(rng.integers(len(noises)))]
        start = rng.integers(len(noise) - len(string))
        gain = PIECE_LEVEL * _decibels(-rng.uniform(*conditions.snr_db))
        string = string + noise[start : start + len(string)] * np.float32(gain)
    if rng.random() < _NARROW_SHARE:
        string = np.convolve(string, _telephone(float(rng.uniform(3300, 3950))), "same")
    return np.asarray(np.clip(string * level, -1.0, 1.0), np.float32)


def _telephone(edge_hz: float) -> Samples:
    """Return a low-pass filter, the windowed sinc."""
    time = np.arange(_NARROW_TAPS) - _NARROW_TAPS // 2
    share = 2 * edge_hz / SAMPLE_RATE
    return np.asarray(share * np.sinc(share * time) * np.hamming(_NARROW_TAPS), np.float32)


def _noises(pool: Sequence[Piece], rng: np.random.Generator) -> tuple[Samples, ...]:
    length = _BANK_S * SAMPLE_RATE
    time = np.arange(length) / SAMPLE_RATE
    hums = [
        sum(rng.uniform(0.1, 1) / harmonic * np.sin(2 * np.pi * mains * harmonic * time) for harmonic in range(1, 12))
        for mains in (50, 60)
    ]
    babbles = []
    for _ in range(2):
        babble = np.zeros(length)
        for _ in range(_BABBLERS):
            one = np.concatenate([pool[index].samples[::-1] for index in rng.integers(len(pool), size=150)])
            babble[: len(one)] += one[:length]
        babbles.append(babble)
    coloured = [make_noise(colour, length, rng) for colour in ("white", "pink", "pink")]
    raw = [*coloured, coloured[0].cumsum() * 0.01 + coloured[1], *hums, *babbles]
    return tuple((noise / np.sqrt(np.mean(noise**2))).astype(np.float32) for noise in raw)


def _disturbed(features: Tensor, frames: Tensor, conditions: Conditions, rng: np.random.Generator) -> Tensor:
    """Colour each recording's spectrum, and hide some of its bands and frames behind the mean."""
    count, size, mels = features.shape
    band = np.linspace(-1, 1, mels)
    colour = rng.normal(0, conditions.colour * _TILT, (count, 1)) * band
    for _ in range(_BUMPS):
        centre, width = rng.uniform(-1, 1, (count, 1)), rng.uniform(0.1, 0.5, (count, 1))
        colour += rng.normal(0, conditions.colour * _BUMP, (count, 1)) * np.exp(-(((band - centre) / width) ** 2))
    real = torch.arange(size) < frames[:, None]
    coloured = (features + torch.from_numpy(colour).float()[:, None]).clamp(min=_FLOOR)
    hidden = torch.zeros(count, size, mels, dtype=torch.bool)
    for row in range(count):
        for _ in range(rng.integers(conditions.hidings + 1)):
            first = rng.integers(mels - _HIDDEN_BANDS)
            hidden[row, :, first : first + rng.integers(_HIDDEN_BANDS)] = True
        for _ in range(rng.integers(conditions.hidings + 1)):
            first = rng.integers(max(1, size - _HIDDEN_FRAMES))
            hidden[row, first : first + rng.integers(_HIDDEN_FRAMES)] = True
    coloured = coloured.masked_fill(hidden, MEL_MEAN)
    return torch.where(real[:, :, None], coloured, 0.0)


def _decibels(value: float) -> float:
    return float(10 ** (value / 20))
