"""What befalls strings between a mouth and a recogniser: other mouths, rooms, noise, telephones, microphones.

What is drawn comes from the generator that is given; only the echoes of rooms come from torch's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.fastconformer.features import valid_frames
from tools.training.learner import MEL_MEAN, Batch
from tools.training.mels import warped_filters
from tools.training.strings import HARD, PIECE_LEVEL, RATE_HZ, Conditions, decibels, joined, layout, on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from tools.training.learner import Learner
    from tools.training.pool import Piece
    from tools.training.strings import Drawn, Voices

_LEVELS_DB = (-22.0, 8.0)
_ECHO_S, _ECHO_DECAY_S, _ECHO_DB = 0.3, (0.01, 0.06), (-15.0, 3.0)
_NARROW_SHARE, _NARROW_HZ, _EDGE_HZ = 0.35, (3300.0, 3950.0), 40.0
_HIGH_PASS_HZ = (-100.0, 300.0)
_BANK_S, _BABBLERS, _BABBLED = 60, 12, 150
_SEED = 3
_TILT, _BUMP, _BUMPS = 1.2, 1.0, 3
_HIDDEN_BANDS, _HIDDEN_FRAMES = 12, 8
_FLOOR = float(np.log(2.0**-24))


def training_batch(
    source: Voices,
    noises: Tensor,
    tokens: Tensor,
    learner: Learner,
    rng: np.random.Generator,
    conditions: Conditions = HARD,
    larger: int = 1,
) -> Batch:
    """Draw a batch of strings, on the device of `source`; `tokens` are the labels of the words."""
    device = source.samples.device
    plan = layout(source, rng, conditions, larger)
    lengths = torch.from_numpy(plan.lengths).to(device)
    # The vocal tract is as long as is drawn, whatever the pace at which a string is played.
    tract = np.exp(rng.uniform(-conditions.formants, conditions.formants, len(plan.pitch)) - plan.pitch)
    audio = line(joined(source, plan), lengths, noises, tract, conditions, rng)
    heard = _heard(learner.bins, tract, conditions, rng)
    features, frames = learner.features(audio, lengths, warped_filters(RATE_HZ, learner.mels, heard))
    labels, counts = tokens[torch.from_numpy(plan.words).to(device)], torch.from_numpy(plan.counts).to(device)
    return Batch(_hidden(_coloured(features, conditions, rng), conditions, rng), frames, labels, counts)


def line(
    strings: Tensor, lengths: Tensor, noises: Tensor, tract: Drawn, conditions: Conditions, rng: np.random.Generator
) -> Tensor:
    """Put strings `(batch, samples)` into rooms and noise, perhaps through telephones, and set how loud they are.

    What is `f` hertz will be taken for `f` times `tract`, `(batch,)`, and so are the edges of a telephone's band.
    """
    (count, size), device = strings.shape, strings.device
    is_noisy = rng.random(count) >= conditions.quiet
    gains = np.where(is_noisy, PIECE_LEVEL * decibels(-rng.uniform(*conditions.snr_db, count)), 0.0)
    starts = rng.integers(len(noises), size=count) * noises.shape[1] + rng.integers(noises.shape[1] - size, size=count)
    places = torch.from_numpy(starts).to(device)[:, None] + torch.arange(size, device=device)
    noise = noises.flatten()[places] * on(gains, device)[:, None]
    # Around the end of the longest string an echo comes back at its beginning, as faint as any other.
    spectrum = torch.fft.rfft(strings) * _rooms(count, size, conditions, rng, device) + torch.fft.rfft(noise)
    narrow = rng.random(count) < _NARROW_SHARE
    highest = on(np.where(narrow, rng.uniform(*_NARROW_HZ, count), np.inf), device)[:, None]
    lowest = on(np.where(narrow, rng.uniform(*_HIGH_PASS_HZ, count), -np.inf), device)[:, None]
    hertz = torch.fft.rfftfreq(size, 1 / RATE_HZ, device=device) * on(tract, device)[:, None]
    band = ((highest - hertz) / _EDGE_HZ).sigmoid() * ((hertz - lowest) / _EDGE_HZ).sigmoid()
    heard = torch.fft.irfft(spectrum * band, n=size) * on(decibels(rng.uniform(*_LEVELS_DB, count)), device)[:, None]
    return torch.where(valid_frames(lengths, size), heard.clamp(-1, 1), 0.0)


def noises(pool: Sequence[Piece], device: torch.device) -> Tensor:
    """Return noises of unit power, `(noises, samples)`: white, pink, hum, and babble of the pool backwards."""
    rng, length = np.random.default_rng(_SEED), _BANK_S * RATE_HZ
    time = np.arange(length) / RATE_HZ
    hums = [
        sum(rng.uniform(0.1, 1) / harmonic * np.sin(2 * np.pi * mains * harmonic * time) for harmonic in range(1, 12))
        for mains in (50, 60)
    ]
    babbles = []
    for _ in range(2):
        babble = np.zeros(length)
        for _ in range(_BABBLERS):
            one = np.concatenate([pool[index].samples[::-1] for index in rng.integers(len(pool), size=_BABBLED)])
            babble[: len(one)] += one[:length]
        babbles.append(babble)
    coloured = [_coloured_noise(power, length, rng) for power in (0.0, 0.5, 0.5, 0.8)]
    bank = np.stack([*coloured, *hums, *babbles])
    return on(bank / np.sqrt(np.mean(bank**2, axis=1, keepdims=True)), device)


def _coloured_noise(power: float, length: int, rng: np.random.Generator) -> Drawn:
    """Return noise whose amplitude falls with this power of the frequency."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    return np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1.0) ** power, length)


def _rooms(count: int, size: int, conditions: Conditions, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Return spectra of rooms: what comes straight, and in some an echo that dies away (Polack, 1988)."""
    time = torch.arange(round(_ECHO_S * RATE_HZ), device=device) / RATE_HZ
    decay = on(rng.uniform(*_ECHO_DECAY_S, count), device)[:, None]
    echo = torch.randn(count, len(time), device=device) * torch.exp(-time / decay)
    gains = np.where(rng.random(count) < conditions.rooms, decibels(rng.uniform(*_ECHO_DB, count)), 0.0)
    echo = echo * (on(gains, device) / echo.norm(dim=1).clamp(min=1e-6))[:, None]
    spectra: Tensor = 1 + torch.fft.rfft(echo, n=size)
    return spectra


def _heard(bins: Tensor, tract: Drawn, conditions: Conditions, rng: np.random.Generator) -> Tensor:
    """Return for what frequency each bin is taken, `(batch, bins)` (VTLP, Jaitly and Hinton, 2013).

    Along the spectrum, resonances are off by a little more or less.
    """
    count, device = len(tract), bins.device
    place, off = (bins / (RATE_HZ / 2)).sqrt(), torch.zeros(count, len(bins), device=device)
    for cycles in (1, 2):
        phase = on(rng.uniform(0, 2 * np.pi, count), device)[:, None]
        most = on(rng.normal(0, conditions.accent, count), device)[:, None]
        off = off + most * torch.sin(2 * np.pi * cycles * place + phase)
    return bins * on(tract, device)[:, None] * off.exp()


def _coloured(features: Tensor, conditions: Conditions, rng: np.random.Generator) -> Tensor:
    """Tilt and bend each string's spectrum, as microphones do."""
    count, _, mels = features.shape
    band = np.linspace(-1, 1, mels)
    colour = rng.normal(0, conditions.colour * _TILT, (count, 1)) * band
    for _ in range(_BUMPS):
        centre, width = rng.uniform(-1, 1, (count, 1)), rng.uniform(0.1, 0.5, (count, 1))
        colour += rng.normal(0, conditions.colour * _BUMP, (count, 1)) * np.exp(-(((band - centre) / width) ** 2))
    return (features + on(colour, features.device)[:, None]).clamp(min=_FLOOR)


def _hidden(features: Tensor, conditions: Conditions, rng: np.random.Generator) -> Tensor:
    """Hide some of the bands and frames behind the mean (SpecAugment, Park et al., 2019)."""
    count, size, mels = features.shape
    bands, times = (
        torch.from_numpy(_stretches(count, places, longest, conditions.hidings, rng)).to(features.device)
        for places, longest in ((mels, _HIDDEN_BANDS), (size, _HIDDEN_FRAMES))
    )
    return features.masked_fill(bands[:, None] | times[:, :, None], MEL_MEAN)


def _stretches(count: int, size: int, longest: int, most: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw up to `most` stretches in each row of `(count, size)`."""
    shape = (count, most, 1)
    first = rng.integers(max(1, size - longest), size=shape)
    length = rng.integers(longest, size=shape) * (np.arange(most)[:, None] < rng.integers(most + 1, size=(count, 1, 1)))
    place = np.arange(size)
    return np.asarray(((place >= first) & (place < first + length)).any(axis=1))
