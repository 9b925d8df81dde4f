"""Names become recognisers, and what cannot be found or honoured is refused by name."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from auricle.engines.loading import LoadRequest, load
from auricle.engines.registry import engine_names, get_engine
from auricle.errors import ModelError, UsageError
from auricle.trace import Tracer

if TYPE_CHECKING:
    from pathlib import Path


def test_every_engine_of_the_package_is_found_by_its_entry_point() -> None:
    ours = {"emformer", "fastconformer", "null", "pocketsphinx", "qwen3-asr", "remote", "sherpa-onnx"}
    assert ours | {"faster-whisper", "nemo", "onnx", "onnx-asr", "transformers"} <= set(engine_names())
    for name in engine_names():
        assert get_engine(name).name == name


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown engine: kaldi .*null, onnx, onnx-asr, pocketsphinx"):
        get_engine("kaldi")


def test_a_model_that_an_engine_carries_is_found_by_its_catalogue_name() -> None:
    recognizer = load(LoadRequest(model="pocketsphinx-en-us", threads=1), Tracer())
    try:
        assert recognizer.info.engine == "pocketsphinx"
        assert recognizer.info.name == "pocketsphinx-en-us"
    finally:
        recognizer.unload()


def test_a_path_without_an_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no engine was named"):
        load(LoadRequest(model=str(tmp_path)), Tracer())


def test_a_model_for_an_engine_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises((UsageError, ModelError), match="parakeet"):
        load(LoadRequest(model="parakeet-tdt-0.6b-v2"), Tracer())


@pytest.mark.parametrize(
    "request_", [LoadRequest("null", precision="fp8"), LoadRequest("null", threads=0)], ids=["precision", "threads"]
)
def test_a_malformed_request_is_a_usage_error(request_: LoadRequest) -> None:
    with pytest.raises(UsageError):
        load(request_, Tracer())


@pytest.mark.parametrize(
    ("request_", "label"),
    [
        (LoadRequest("null"), "null"),
        (LoadRequest("sherpa-onnx", "m", "cuda:1", "fp16", 2), "sherpa-onnx:m:cuda:1:fp16 x2"),
        (LoadRequest("sherpa-onnx", "m", "cpu", "int8"), "sherpa-onnx:m:cpu:int8"),
        (LoadRequest(None, "m"), "m"),
    ],
)
def test_a_request_has_a_short_label(request_: LoadRequest, label: str) -> None:
    assert request_.label == label


@pytest.mark.parametrize("module", ["auricle", "auricle.cli", "auricle.cli.commands", "auricle.engines.registry"])
def test_importing_costs_no_heavy_package(module: str) -> None:
    heavy = ["torch", "onnxruntime", "onnx", "transformers", "av", "numpy", "sherpa_onnx", "pocketsphinx", "rich"]
    program = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "[]"
