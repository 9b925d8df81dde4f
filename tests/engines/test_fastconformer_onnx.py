"""The onnx engine keeps the contract with what `export` wrote, and refuses what it cannot honour."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from auricle.audio import Audio
from auricle.engines.contract import LoadOptions
from auricle.errors import UnsupportedError, UsageError
from auricle.trace import Tracer
from tests.engines.contract_suite import EngineContract, LiveContract
from tests.fastconformer.checkpoints import RATE_HZ, build, recording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auricle.engines.contract import Engine

MISSING = [
    package for package in ("torch", "sentencepiece", "yaml", "onnx", "onnxruntime") if find_spec(package) is None
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed; pip install 'auricle[onnx]'")


def exported(name: str, folder: Path) -> Path:
    from auricle.fastconformer.export.writing import Plan, write
    from auricle.fastconformer.loading import read

    path = build(name, folder)
    out = folder / "onnx"
    out.mkdir()
    write(read(path), path, out, Plan())
    return out


class OnnxContract(EngineContract):
    """The suite on random weights, made from a seed."""

    model = ""
    keyword = "da"

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        from auricle.engines.fastconformer_onnx import ENGINE

        return ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, tmp_path_factory: pytest.TempPathFactory) -> LoadOptions:
        return LoadOptions(model=exported(cls.model, tmp_path_factory.mktemp("model")), threads=1)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return [Audio(recording(samples, samples), RATE_HZ) for samples in (40_000, 56_000, 23_000)]


class TestHybridTdt(OnnxContract):
    model = "hybrid_tdt"


class TestStreamingTransducer(OnnxContract, LiveContract):
    model = "rnnt_stream"
    hears_silence = True


def test_a_precision_other_than_that_of_the_folder_is_refused(tmp_path: Path) -> None:
    from auricle.engines.fastconformer_onnx import ENGINE

    folder = exported("ctc", tmp_path)
    with pytest.raises(UnsupportedError, match="exported in fp32"):
        ENGINE.load(LoadOptions(folder, precision="int8"), Tracer())
    with pytest.raises(UnsupportedError, match="no CUDAExecutionProvider"):
        ENGINE.load(LoadOptions(folder, device="cuda"), Tracer())
    with pytest.raises(UsageError, match="carries no model"):
        ENGINE.load(LoadOptions(), Tracer())


def test_what_runs_where_is_told(tmp_path: Path) -> None:
    from auricle.engines.fastconformer_onnx import ENGINE

    recognizer = ENGINE.load(LoadOptions(exported("ctc", tmp_path), threads=1), Tracer())
    assert recognizer.info.provider == "CPUExecutionProvider"
    assert any("by CPUExecutionProvider" in note for note in recognizer.info.notes)
    recognizer.unload()
