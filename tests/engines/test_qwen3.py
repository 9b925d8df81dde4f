"""The qwen3-asr engine on a tiny model with random weights."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from auricle.audio import Audio
from auricle.bench.gate.gate import Settings, check
from auricle.corpus import open_corpus
from auricle.engines import qwen3
from auricle.engines.contract import Feed, LoadOptions, StreamingRecognizer, StreamOptions, TranscribeOptions
from auricle.engines.loading import LoadRequest, load
from auricle.engines.registry import get_engine
from auricle.errors import EngineError, ModelError, UnsupportedError, UsageError
from auricle.models.store import STORE
from auricle.trace import Tracer
from tests.engines.contract_suite import PLAIN, EngineContract, LiveContract
from tests.qwen3.checkpoints import RATE_HZ, network, plant_overflow, recording, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auricle.engines.contract import Engine
    from auricle.engines.qwen3_recognizer import Qwen3Recognizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tiny"), network(15))


@pytest.fixture
def loaded(folder: Path) -> Iterator[Qwen3Recognizer]:
    recognizer = qwen3.ENGINE.load(LoadOptions(folder, threads=1), Tracer())
    yield recognizer
    recognizer.unload()


class TestTiny(EngineContract, LiveContract):
    hears_silence = True  # Its weights are random.

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return qwen3.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, folder: Path) -> LoadOptions:
        return LoadOptions(model=folder, threads=1)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return [Audio(recording(samples), RATE_HZ) for samples in (20_000, 40_000, 9_000)]


def test_mixed_precision_is_one_precision_and_told_by_part(folder: Path) -> None:
    name = "encoder=fp32,decoder=fp16"
    recognizer = qwen3.ENGINE.load(LoadOptions(folder, precision=name, threads=1), Tracer())
    recognizer.unload()
    info = recognizer.info
    assert (info.precision, info.converted) == (name, True)
    assert {group.dtype for group in info.weights} == {"float32", "float16"}
    assert any("in fp32 whatever the weights are" in note for note in info.notes)


@pytest.mark.parametrize("name", ["int8", "encoder=int8,decoder=fp16", "joint=fp16"])
def test_a_precision_that_the_engine_does_not_have_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UnsupportedError, match=r"int8|joint=fp16"):
        qwen3.ENGINE.load(LoadOptions(folder, precision=name), Tracer())


@pytest.mark.parametrize("engine", ["fastconformer", "null", "pocketsphinx", "sherpa-onnx"])
def test_engines_without_parts_refuse_a_mixed_precision_by_name(engine: str) -> None:
    with pytest.raises(UnsupportedError, match="encoder=fp32,decoder=fp16"):
        get_engine(engine).load(LoadOptions(precision="encoder=fp32,decoder=fp16"), Tracer())


@pytest.mark.parametrize("name", ["encoder=fp32,encoder=fp16", "encoder=", "fp32,fp16", "=fp16"])
def test_a_malformed_mixed_precision_is_a_usage_error(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="unknown precision"):
        load(LoadRequest("qwen3-asr", str(folder), precision=name), Tracer())


def test_a_reduced_precision_is_not_loaded_before_it_was_checked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE, str(tmp_path))
    name = "encoder=fp32,decoder=fp16"
    with pytest.raises(UnsupportedError, match=rf"never checked .*--precision {name}"):
        load(LoadRequest("qwen3-asr", str(folder), precision=name), Tracer())
    load(LoadRequest("qwen3-asr", str(folder), precision=f"{name}-unchecked"), Tracer()).unload()


def test_an_overflow_in_fp16_is_caught_by_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORE, str(tmp_path / "store"))
    theirs = network(3)
    plant_overflow(theirs)
    model = str(write(tmp_path / "model", theirs))
    asked = [LoadRequest("qwen3-asr", model, precision=precision, threads=1) for precision in ("fp16", "fp32")]
    found = check(asked[0], asked[1], open_corpus("demo-digits").select(limit=2), Settings(copies=0))
    assert found.outcome == "failed"
    assert "the decoder's scores are not finite: in float16" in "; ".join(found.reasons)
    with pytest.raises(UnsupportedError, match="scores are not finite"):
        load(asked[0], Tracer())


def test_keywords_and_prompt_are_the_context(loaded: Qwen3Recognizer) -> None:
    speech = [Audio(recording(20_000), RATE_HZ)]
    plain, told, both = (
        loaded.transcribe(speech, options)[0].text
        for options in (PLAIN, TranscribeOptions(prompt="Auricle"), TranscribeOptions(keywords=("Auricle",)))
    )
    assert plain != told
    assert told == both


def test_without_a_model_and_with_another_folder_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="carries no model"):
        qwen3.ENGINE.load(LoadOptions(), Tracer())
    with pytest.raises(ModelError, match="configuration cannot be read"):
        qwen3.ENGINE.load(LoadOptions(tmp_path), Tracer())


def test_a_chunk_of_the_wrong_size_is_refused(loaded: Qwen3Recognizer) -> None:
    assert isinstance(loaded, StreamingRecognizer)
    stream = loaded.open(StreamOptions(chunk_ms=1000, language="en", keywords=("Auricle",)))
    with pytest.raises(EngineError, match=r"wrong size: 10 .*16000"):
        loaded.step([Feed(stream, recording(10))])
    loaded.close(stream)


def test_the_stages_of_a_call_add_up_to_its_time(loaded: Qwen3Recognizer) -> None:
    batch = [Audio(recording(samples), RATE_HZ) for samples in (60_000, 48_000)]
    loaded.transcribe(batch, PLAIN)
    best = 1.0
    for _ in range(3):  # A busy machine may take time between two stages.
        loaded.stages.tracer.drain()
        start = time.perf_counter()
        loaded.transcribe(batch, PLAIN)
        total = time.perf_counter() - start
        best = min(best, 1 - sum(span.duration_s for span in loaded.stages.tracer.drain()) / total)
    assert 0 <= best < 0.03
