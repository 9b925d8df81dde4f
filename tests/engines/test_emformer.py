"""The Emformer engine keeps the contract."""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.audio import Audio
from auricle.emformer.config import FIRST_SAMPLES, SEGMENT_SAMPLES
from auricle.engines import emformer
from auricle.engines.contract import Feed, LoadOptions, StreamOptions, TranscribeOptions
from auricle.errors import EngineError, ModelError, UnsupportedError
from auricle.trace import Tracer
from tests.emformer.checkpoints import build
from tests.emformer.speech import SENTENCES, heard, spoken
from tests.engines.contract_suite import PLAIN, EngineContract, LiveContract
from tests.fastconformer.checkpoints import RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auricle.engines.contract import Engine
    from auricle.engines.emformer_recognizer import EmformerRecognizer

MISSING = [package for package in ("torch", "sentencepiece") if find_spec(package) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed; pip install 'auricle[torch]'")


class EmformerContract(EngineContract, LiveContract):
    model = ""
    beam: int | None = None
    hears_silence = True

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return emformer.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, tmp_path_factory: pytest.TempPathFactory) -> LoadOptions:
        return LoadOptions(build(cls.model, tmp_path_factory.mktemp("model")), threads=1, beam=cls.beam)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return [Audio(heard(cls.model, samples, samples), RATE_HZ) for samples in (24_000, 32_001, 20_000)]


@pytest.mark.slow
class TestOneHypothesis(EmformerContract):
    model = "talkative"
    beam = 1


class TestTenHypotheses(EmformerContract):
    model = "fitted"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmformerRecognizer]:
    options = LoadOptions(build("fitted", tmp_path_factory.mktemp("fitted")), threads=1)
    recognizer = emformer.ENGINE.load(options, Tracer())
    yield recognizer
    recognizer.unload()


def test_a_fitted_model_says_what_it_knows(fitted: EmformerRecognizer) -> None:
    said = fitted.transcribe([Audio(spoken(name), RATE_HZ) for name in SENTENCES], PLAIN)
    assert [one.text for one in said] == [*SENTENCES.values()]


def test_words_come_when_they_are_said(fitted: EmformerRecognizer) -> None:
    (said,) = fitted.transcribe([Audio(spoken("demo-short"), RATE_HZ)], TranscribeOptions(word_times=True))
    assert [word.text for word in said.words] == SENTENCES["demo-short"].split()
    assert said.words[0].start < 0.9
    assert said.words[-1].end > 2.9
    assert all(word.confidence is not None and 0 < word.confidence <= 1 for word in said.words)


def test_every_chunk_after_the_first_completes_a_segment(fitted: EmformerRecognizer) -> None:
    stream = fitted.open(StreamOptions())
    with pytest.raises(EngineError, match="wrong size"):
        fitted.step([Feed(stream, np.zeros(SEGMENT_SAMPLES, np.float32))])
    fitted._tracer.drain()
    fitted.step([Feed(stream, np.zeros(FIRST_SAMPLES, np.float32))])
    assert not fitted._tracer.drain()
    for _ in range(3):
        fitted.step([Feed(stream, np.zeros(SEGMENT_SAMPLES, np.float32))])
        assert [span.stage for span in fitted._tracer.drain()] == ["features", "encoder", "decode"]
    fitted.close(stream)


def test_words_that_are_stable_stay(fitted: EmformerRecognizer) -> None:
    samples, stream = spoken("demo-sentence-01"), fitted.open(StreamOptions())
    stable: list[str] = []
    for start, end in _cuts(len(samples)):
        (told,) = fitted.step([Feed(stream, samples[start:end], end == len(samples))])
        assert told.text.split()[: len(stable)] == stable
        stable = told.text.split()[: told.stable_words]
    assert stable == SENTENCES["demo-sentence-01"].split()
    fitted.close(stream)


def _cuts(samples: int) -> Iterator[tuple[int, int]]:
    edges = [0, *range(FIRST_SAMPLES, samples, SEGMENT_SAMPLES), samples]
    return itertools.pairwise(edges)


def test_what_a_slot_takes_is_what_its_tensors_take(fitted: EmformerRecognizer) -> None:
    assert fitted.info.streaming is not None
    assert fitted.info.streaming.bytes_per_slot == (
        4 * 3 * 35 * 2 * 64  # layers, places, keys and values, width
        + 10 * (4 + 8 + 8)  # scores, counts, hashes
        + 10 * 4 * (48 + 2 * 2 * 32),  # the predictor's output, and two layers' outputs and cells
    )


@pytest.mark.parametrize(("beam", "most"), [(0, 32), (33, 32), (-1, 32)])
def test_a_beam_that_there_is_not_is_refused(tmp_path: Path, beam: int, most: int) -> None:
    with pytest.raises(UnsupportedError, match=f"{beam}.*from 1 to {most}"):
        emformer.ENGINE.load(LoadOptions(build("sharp", tmp_path), beam=beam), Tracer())


@pytest.mark.parametrize("change", [{"precision": "bf16"}, {"device": "cuda"}, {"local_attention": 8}])
def test_what_it_cannot_do_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match=str(next(iter(change.values())))):
        emformer.ENGINE.load(LoadOptions(build("sharp", tmp_path), **change), Tracer())  # type: ignore[arg-type]


def test_without_a_model_it_says_what_to_pull() -> None:
    with pytest.raises(ModelError, match="pull emformer-rnnt-base-librispeech"):
        emformer.ENGINE.load(LoadOptions(), Tracer())
