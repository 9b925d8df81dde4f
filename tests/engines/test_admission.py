"""A precision that Auricle makes itself is loaded once it passed its check, or when it is asked for unchecked."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from auricle.engines.loading import LoadRequest, files_of, load, subject_of
from auricle.errors import UnsupportedError, UsageError
from auricle.models import verdicts
from auricle.models.store import STORE
from auricle.trace import Tracer
from tests.engines import sherpa_graphs
from tests.fastconformer.checkpoints import build

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.engines.contract import ModelInfo
    from auricle.models.verdicts import Outcome

torch_only = pytest.mark.skipif(
    any(find_spec(package) is None for package in ("torch", "sentencepiece", "yaml")),
    reason="needs pip install 'auricle[torch]'",
)
sherpa_only = pytest.mark.skipif(find_spec("sherpa_onnx") is None, reason='needs pip install "auricle[sherpa]"')


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no verdicts but the test's own."""
    monkeypatch.setenv(STORE, str(tmp_path / "store"))


def loaded(model: Path, precision: str | None, engine: str = "fastconformer") -> ModelInfo:
    recognizer = load(LoadRequest(engine, str(model), precision=precision, threads=1), Tracer())
    recognizer.unload()
    return recognizer.info


def judge(info: ModelInfo, model: Path, outcome: Outcome) -> None:
    """Keep a verdict on what was loaded."""
    files = files_of(info, model)
    kept = verdicts.Verdict(
        model=info.name,
        subject=subject_of(info, files),
        hashes=verdicts.hashes_of(files),
        outcome=outcome,
        reasons=("12 texts are empty",),
        figures={},
        checked_at="2026-11-20T20:00:00Z",
    )
    verdicts.keep(kept)


@torch_only
def test_what_was_never_checked_is_refused_with_the_command_that_checks_it(tmp_path: Path) -> None:
    model = build("rnnt_stream", tmp_path)
    command = r"auricle models check .*rnnt_stream\.nemo --engine fastconformer --precision bf16; or ask"
    with pytest.raises(UnsupportedError, match=rf"bf16.* was never checked.*{command}"):
        loaded(model, "bf16")
    assert loaded(model, "fp32").precision == loaded(model, None).precision == "fp32"


@torch_only
def test_unchecked_is_asked_for_by_name_and_what_really_runs_is_told(tmp_path: Path) -> None:
    model = build("rnnt_stream", tmp_path)
    info = loaded(model, "bf16-unchecked")
    assert (info.precision, info.converted) == ("bf16+fp32", True)
    assert re.search(r"linear layers run by (onednn-packed|torch) \(", " ".join(info.notes))
    assert loaded(model, "int8-unchecked").precision == "fp32+int8"
    with pytest.raises(UsageError, match="unknown precision"):
        loaded(model, "fp7-unchecked")


@torch_only
@pytest.mark.parametrize("outcome", ["failed", "not enough evidence"])
def test_what_did_not_pass_is_refused_with_the_reason(tmp_path: Path, outcome: Outcome) -> None:
    model = build("rnnt_stream", tmp_path)
    judge(loaded(model, "bf16-unchecked"), model, outcome)
    with pytest.raises(UnsupportedError, match=f"bf16.* against fp32: {outcome}, 12 texts are empty"):
        loaded(model, "bf16")


@torch_only
def test_what_passed_is_loaded_until_the_file_changes(tmp_path: Path) -> None:
    model = build("rnnt_stream", tmp_path)
    judge(loaded(model, "bf16-unchecked"), model, "passed")
    assert loaded(model, "bf16").converted
    other = build("ctc", tmp_path)
    model.write_bytes(other.read_bytes())
    with pytest.raises(UnsupportedError, match="never checked"):
        loaded(model, "bf16")


@sherpa_only
def test_files_published_in_a_smaller_precision_are_refused_only_when_they_failed(tmp_path: Path) -> None:
    model = sherpa_graphs.nemo_ctc(tmp_path, "model.int8.onnx", "int8")
    info = loaded(model, "int8", "sherpa-onnx")
    assert not info.converted
    judge(info, model, "not enough evidence")
    assert loaded(model, "int8", "sherpa-onnx").precision == info.precision
    judge(info, model, "failed")
    for precision in ("int8", None):
        with pytest.raises(UnsupportedError, match=r"int8.* against fp32: failed, 12 texts are empty"):
            loaded(model, precision, "sherpa-onnx")
    assert loaded(model, "int8-unchecked", "sherpa-onnx").precision == info.precision
