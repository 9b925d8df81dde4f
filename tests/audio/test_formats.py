"""Every file of the evaluation data's `formats` folder does what its manifest says."""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.signal import correlate

from auricle.audio import load, probe
from auricle.errors import AudioError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

JFK = ("jfk-16k.wav", "jfk.mp3", "jfk-44k1.m4a", "jfk-44k1-stereo.flac")
ROOM_NOISE_PEAK = 0.15
ONE_TWO_THREE_S = 121_052 / 44_100


@pytest.fixture(scope="module")
def formats(data: Path) -> Path:
    return data / "formats"


def test_every_file_of_the_manifest_is_decoded_or_refused_as_it_says(formats: Path) -> None:
    outcomes = {"decoded": 0, "silent": 0, "refused": 0}
    for line in (formats / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "reject" in entry["expect"]:
            with pytest.raises(AudioError, match=entry["file"]) as caught:
                load(formats / entry["file"])
            assert caught.value.remedy
            outcomes["refused"] += 1
        else:
            peak = np.abs(load(formats / entry["file"]).samples).max()
            is_silent = entry["expect"].startswith("silence")
            assert (peak < ROOM_NOISE_PEAK) == is_silent, entry
            outcomes["silent" if is_silent else "decoded"] += 1
    assert outcomes == {"decoded": 16, "silent": 3, "refused": 4}


def test_headerless_pcm_is_refused_with_the_remedy_for_raw_pcm(formats: Path) -> None:
    with pytest.raises(AudioError, match=r"missing_wav_header\.wav \(found: .*\) \(hint: if it is raw PCM"):
        load(formats / "missing_wav_header.wav")


def test_a_header_with_an_absurd_rate_is_refused_with_the_rate(formats: Path) -> None:
    with pytest.raises(AudioError, match=r"malformed-awful\.wav \(found 1092676 Hz, 1 channels\)"):
        load(formats / "malformed-awful.wav")


def test_a_header_without_samples_is_refused(formats: Path) -> None:
    with pytest.raises(AudioError, match=r"no audio samples in file: .*malformed-null\.wav"):
        load(formats / "malformed-null.wav")


@pytest.mark.parametrize(("first", "second"), list(combinations(JFK, 2)))
def test_one_recording_in_two_containers_sounds_the_same_at_the_same_time(
    formats: Path, first: str, second: str
) -> None:
    one, other = load(formats / first).samples, load(formats / second).samples
    assert len(one) == pytest.approx(len(other), abs=80)
    lag, correlation = aligned(one, other)
    assert abs(lag) <= 1
    assert correlation > 0.98


@pytest.mark.parametrize("name", ["mono-16-bit", "mono-24-bit", "mono-32-bit", "stereo-24-bit", "mono-8-bit"])
def test_one_recording_at_every_depth_is_the_same_within_its_step(formats: Path, name: str) -> None:
    audio, reference = load(formats / f"one-two-three-{name}.wav"), load(formats / "one-two-three-24bit.flac")
    assert audio.duration_s == pytest.approx(ONE_TWO_THREE_S, abs=1 / 16_000)
    step = 2 / 2 ** int(name.split("-")[1])
    np.testing.assert_allclose(audio.samples, reference.samples, atol=3 * max(step, 2**-24))


def test_probe_tells_what_a_file_declares(formats: Path) -> None:
    info = probe(formats / "jfk-44k1-stereo.flac")
    assert (info.container, info.codec, info.rate, info.channels) == ("flac", "flac", 44_100, 2)
    assert info.duration_s == pytest.approx(11.0)
    assert probe(formats / "whatstheweatherlike-mulaw.wav").codec == "pcm_mulaw"
    assert probe(formats / "malformed-null.wav").duration_s is None


def aligned(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[int, float]:
    """Return the lag of the best alignment in samples, and the correlation there."""
    product = correlate(one, other)
    peak = int(np.argmax(product))
    return peak - (len(other) - 1), float(product[peak] / np.sqrt(np.sum(one**2) * np.sum(other**2)))
