"""Noise added to speech at a stated signal-to-noise ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from auricle.errors import CorpusError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

NoiseColour = Literal["white", "pink"]
FRAME_MS = 20
ACTIVE_RANGE_DB = 40.0
_PEAK = 0.99


def make_noise(colour: NoiseColour, length: int, rng: np.random.Generator) -> Samples:
    """Return `length` samples of unit power: a flat spectrum (white), or 3 dB less with each octave (pink).

    Raises UsageError for another colour.
    """
    if colour not in get_args(NoiseColour):
        raise UsageError("no such noise", colour, f"one of {', '.join(get_args(NoiseColour))}")
    noise = rng.standard_normal(length)
    if colour == "pink":
        spectrum = np.fft.rfft(noise)
        spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1.0))
        spectrum[0] = 0.0
        noise = np.fft.irfft(spectrum, length)
    noise /= np.sqrt(np.mean(noise**2))
    return noise.astype(np.float32)


def speech_active(samples: Samples, rate: int) -> NDArray[np.bool_]:
    """Return which samples, shape `(samples,)`, lie in a 20 ms frame within 40 dB of the loudest frame's power."""
    frame = rate * FRAME_MS // 1000
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % frame))
    power = np.mean(padded.reshape(-1, frame) ** 2, axis=1)
    active = power >= power.max(initial=0.0) * 10 ** (-ACTIVE_RANGE_DB / 10)
    return np.repeat(active & (power > 0), frame)[: len(samples)]


def mix(speech: Samples, noise: Samples, snr_db: float, rate: int) -> Samples:
    """Add noise at a signal-to-noise ratio over the speech alone, pauses left out; scaled down where it would clip.

    SNR = 10 log10(sum over A of s^2 / sum over A of v^2), where A are the samples that are `speech_active`, s is the
    speech and v the noise as added. Raises CorpusError when there is no speech.
    """
    active = speech_active(speech, rate)
    if not active.any():
        raise CorpusError("no speech to set a signal-to-noise ratio against", f"{len(speech)} silent samples")
    speech_power = np.mean(speech[active].astype(np.float64) ** 2)
    noise_power = np.mean(noise[active].astype(np.float64) ** 2)
    gain = np.sqrt(speech_power / noise_power / 10 ** (snr_db / 10))
    mixed = speech.astype(np.float64) + gain * noise
    scale = min(1.0, _PEAK / np.abs(mixed).max())
    return np.asarray(scale * mixed, np.float32)
