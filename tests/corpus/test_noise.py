from typing import Any

import numpy as np
import pytest

from auricle.corpus.noise import NoiseColour, make_noise, mix, speech_active
from auricle.errors import CorpusError, UsageError

RATE = 16_000


def speech() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Two bursts of a tone of one second each with a second of near silence before, between and after."""
    time = np.arange(5 * RATE) / RATE
    burst = ((time >= 1) & (time < 2)) | ((time >= 3) & (time < 4))
    return (0.2 * np.sin(2 * np.pi * 220 * time) * np.where(burst, 1.0, 1e-4)).astype(np.float32)


def test_speech_is_active_where_it_sounds() -> None:
    active = speech_active(speech(), RATE)
    assert active.sum() == 2 * RATE
    assert active[RATE : 2 * RATE].all()
    assert not speech_active(np.zeros(RATE, np.float32), RATE).any()


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 25.0])
def test_the_measured_ratio_is_the_stated_one(colour: NoiseColour, snr_db: float) -> None:
    clean = speech()
    noise = make_noise(colour, len(clean), np.random.default_rng(3))
    mixed = mix(clean, noise, snr_db, RATE).astype(np.float64)
    # The mix is a * clean + b * noise; least squares recovers both without knowing how it was made.
    (scale, level), *_ = np.linalg.lstsq(np.stack([clean, noise], axis=1).astype(np.float64), mixed)
    sounding = np.r_[RATE : 2 * RATE, 3 * RATE : 4 * RATE]
    ratio = np.sum((scale * clean[sounding]) ** 2) / np.sum((level * noise[sounding]) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.01)
    assert np.abs(mixed).max() <= 1.0


def test_white_noise_is_flat_and_pink_noise_falls_by_three_decibels_an_octave() -> None:
    slopes: dict[NoiseColour, float] = {"white": 0.0, "pink": -3.0103}
    for colour, slope in slopes.items():
        noise = make_noise(colour, 60 * RATE, np.random.default_rng(0))
        power = np.abs(np.fft.rfft(noise)) ** 2
        hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
        octaves = [10 * np.log10(power[(hertz >= low) & (hertz < 2 * low)].mean()) for low in 2.0 ** np.arange(5, 13)]
        assert np.diff(octaves) == pytest.approx(slope, abs=0.3)
        assert np.mean(noise**2) == pytest.approx(1.0, abs=1e-3)


def test_silence_has_no_signal_to_noise_ratio() -> None:
    with pytest.raises(CorpusError, match="no speech"):
        mix(np.zeros(RATE, np.float32), np.ones(RATE, np.float32), 10, RATE)


def test_an_unknown_colour_is_refused() -> None:
    brown: Any = "brown"
    with pytest.raises(UsageError, match="no such noise: brown"):
        make_noise(brown, 10, np.random.default_rng(0))
