"""The null engine keeps the contract, and its text tells which samples it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.audio import Audio
from auricle.engines import null
from auricle.engines.contract import Feed, LoadOptions, StreamOptions, TranscribeOptions
from auricle.errors import UnsupportedError
from auricle.trace import Tracer
from auricle.transcript import Hypothesis
from tests.engines.contract_suite import EngineContract, LiveContract

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auricle.engines.contract import Engine


def noise(seconds: float, seed: int) -> Audio:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * null.SAMPLE_RATE))
    return Audio(samples.astype(np.float32), null.SAMPLE_RATE, f"noise-{seed}")


class TestNull(EngineContract, LiveContract):
    hears_silence = True

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return null.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return [noise(seconds, seed) for seed, seconds in enumerate((3.0, 1.23, 0.7))]


def text_of(samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> list[str]:
    recognizer = null.ENGINE.load(LoadOptions(), Tracer())
    (transcript,) = recognizer.transcribe([Audio(samples, null.SAMPLE_RATE)], TranscribeOptions())
    return transcript.text.split()


def test_every_half_second_is_a_word_and_the_rest_is_one_too() -> None:
    assert len(text_of(noise(2.75, 1).samples)) == 6


@pytest.mark.parametrize("fault", ["lost", "repeated", "reordered"])
def test_a_fault_shows_from_its_place_on(fault: str) -> None:
    samples = noise(3.0, 2).samples
    at = 2 * null.WORD_SAMPLES
    broken = {
        "lost": np.concatenate([samples[:at], samples[at + 1 :]]),
        "repeated": np.concatenate([samples[:at], samples[at - 1 :]]),
        "reordered": np.concatenate([samples[:at], samples[at : at + 2][::-1], samples[at + 2 :]]),
    }[fault]
    good, bad = text_of(samples), text_of(broken)
    assert bad[:2] == good[:2]
    assert bad[2] != good[2]


def test_live_and_file_give_the_same_words() -> None:
    audio = noise(2.3, 3)
    recognizer = null.ENGINE.load(LoadOptions(), Tracer())
    stream = recognizer.open(StreamOptions(chunk_ms=80))
    final = None
    for start in range(0, len(audio.samples), 1280):
        chunk = audio.samples[start : start + 1280]
        (final,) = recognizer.step([Feed(stream, chunk, is_last=start + 1280 >= len(audio.samples))])
    assert isinstance(final, Hypothesis)
    assert final.text.split() == text_of(audio.samples)


def test_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no models"):
        null.ENGINE.load(LoadOptions(model=tmp_path), Tracer())
