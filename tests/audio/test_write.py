from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from auricle.audio import Audio, load, probe, save
from auricle.errors import AudioError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.mark.parametrize("extension", ["wav", "flac", "WAV"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_16_bit_values_come_back_exactly(extension: str, rate: int, tmp_path: Path) -> None:
    values = np.arange(-32768, 32768).astype(np.float32) / np.float32(32768)
    path = tmp_path / f"ramp.{extension}"
    save(Audio(values, rate), path)
    np.testing.assert_array_equal(load(path, rate).samples, values)
    assert probe(path).rate == rate


@settings(deadline=None)
@given(samples=arrays(np.float32, st.integers(1, 9000), elements=st.floats(-2, 2, width=32)))
def test_any_samples_come_back_within_half_a_step_and_clipped(
    samples: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.flac"
    save(Audio(samples, 16_000), path)
    expected = np.clip(samples, -1, 32767 / 32768)
    np.testing.assert_allclose(load(path).samples, expected, rtol=0, atol=0.5 / 32768)


@pytest.mark.parametrize("extension", ["ogg", "opus"])
def test_opus_keeps_length_and_sound(extension: str, tmp_path: Path) -> None:
    tone = np.float32(0.5) * np.sin(np.arange(32_000) * 2 * np.pi * 440 / 16_000).astype(np.float32)
    path = tmp_path / f"tone.{extension}"
    save(Audio(tone, 16_000), path)
    back = load(path).samples
    assert len(back) == 32_000
    assert np.corrcoef(tone[1000:-1000], back[1000:-1000])[0, 1] > 0.99
    assert path.stat().st_size < 40_000


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
def test_the_same_audio_gives_the_same_bytes(extension: str, tmp_path: Path) -> None:
    audio = Audio(np.linspace(-1, 1, 20_000, dtype=np.float32), 16_000)
    for name in ("one", "other"):
        save(audio, tmp_path / f"{name}.{extension}")
    assert (tmp_path / f"one.{extension}").read_bytes() == (tmp_path / f"other.{extension}").read_bytes()


def test_other_extensions_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"with this extension: .*speech\.mp3 \(hint: use one of \.wav, \.flac"):
        save(Audio(np.zeros(10, np.float32), 16_000), tmp_path / "speech.mp3")


def test_a_rate_that_opus_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Opus has no such sampling rate in Hz: 22050"):
        save(Audio(np.zeros(10, np.float32), 22_050), tmp_path / "speech.opus")


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
def test_samples_that_are_not_numbers_are_refused_and_nothing_is_left_behind(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"speech.{extension}"
    save(Audio(np.zeros(100, np.float32), 16_000), path)
    before = path.read_bytes()
    samples = np.zeros(200_000, np.float32)
    samples[-1] = np.nan
    with pytest.raises(AudioError, match="samples are not audio: speaker one"):
        save(Audio(samples, 16_000, "speaker one"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
