"""onnx-asr keeps the contract on NeMo's kinds of exports, and models that it would mishear are refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from auricle.engines import onnx_asr
from auricle.engines.contract import LoadOptions, TranscribeOptions
from auricle.errors import ModelError, UnsupportedError
from auricle.trace import Tracer
from tests.engines import onnx_asr_graphs as graphs
from tests.engines import sherpa_graphs
from tests.engines.contract_suite import EngineContract, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from auricle.audio import Audio
    from auricle.engines.contract import Engine

SENTENCES = ("one two three", "three one", "two one two one three")


class TestOnnxAsr(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return onnx_asr.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, tmp_path_factory: pytest.TempPathFactory) -> LoadOptions:
        return LoadOptions(model=graphs.tdt(tmp_path_factory.mktemp("model")))

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return [sherpa_graphs.say(sentence) for sentence in SENTENCES]


@pytest.mark.parametrize(
    ("build", "family"),
    [
        (graphs.ctc, "nemo-conformer-ctc"),
        (graphs.transducer, "nemo-conformer-rnnt"),
        (graphs.tdt, "nemo-conformer-tdt"),
    ],
)
def test_every_kind_hears_the_words_where_they_are(build: Callable[[Path], Path], family: str, tmp_path: Path) -> None:
    recognizer = onnx_asr.ENGINE.load(LoadOptions(model=build(tmp_path)), Tracer())
    try:
        together = texts(recognizer, [sherpa_graphs.say(sentence) for sentence in SENTENCES])
        (timed,) = recognizer.transcribe([sherpa_graphs.say("two three one")], TranscribeOptions(word_times=True))
    finally:
        recognizer.unload()
    assert recognizer.info.family == family
    assert recognizer.info.precision == "fp32"
    assert together == list(SENTENCES)
    assert timed.text == "two three one"
    assert [word.start for word in timed.words] == pytest.approx([0.2, 0.68, 1.4], abs=0.17)


@pytest.mark.parametrize(
    "build",
    [
        lambda folder: graphs.transducer(folder, cache=", float[N,1,1,1] cache_last_channel"),
        lambda folder: graphs.ctc(folder, props={"normalize_type": "NA"}),
        lambda folder: graphs.ctc(folder, props={"normalize_type": ""}),
    ],
)
def test_models_trained_without_normalisation_are_refused(build: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"normalises each mel .*sherpa-onnx or fastconformer"):
        onnx_asr.ENGINE.load(LoadOptions(model=build(tmp_path)), Tracer())


def test_a_precision_that_is_not_in_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.int8\.onnx"):
        onnx_asr.ENGINE.load(LoadOptions(model=graphs.ctc(tmp_path), precision="int8"), Tracer())


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    graphs.ctc(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(UnsupportedError, match=r"whisper .*nemo-conformer-tdt"):
        onnx_asr.ENGINE.load(LoadOptions(model=tmp_path), Tracer())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        onnx_asr.ENGINE.load(LoadOptions(model=tmp_path), Tracer())


def test_a_graph_that_is_damaged_is_a_model_error(tmp_path: Path) -> None:
    graphs.ctc(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError):
        onnx_asr.ENGINE.load(LoadOptions(model=tmp_path), Tracer())
