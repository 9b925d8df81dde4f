"""A verdict is found for the same files, made and run in the same way, and for nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auricle.errors import ModelError
from auricle.models.store import STORE
from auricle.models.verdicts import Subject, Verdict, files_of, find, hashes_of, keep, subject_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's file, and a store of its own."""
    monkeypatch.setenv(STORE, str(tmp_path / "store"))
    path = tmp_path / "a.nemo"
    path.write_bytes(b"weights")
    return path


def about(path: Path, precision: str = "bf16", device: str = "cpu") -> Subject:
    return subject_of("fastconformer", precision, device, [path])


def verdict(path: Path, checked_at: str = "2026-11-20T20:00:00Z") -> Verdict:
    return Verdict(
        model=path.name,
        subject=about(path),
        hashes=hashes_of([path]),
        outcome="passed",
        reasons=("all is well",),
        figures={"wer": 0.01},
        checked_at=checked_at,
    )


def test_what_was_kept_is_found_with_all_that_it_says(model: Path) -> None:
    assert find(about(model), [model]) is None
    path = keep(verdict(model))
    assert path.parent.parent.name == "store"
    assert find(about(model), [model]) == verdict(model)


def test_a_new_verdict_replaces_the_old_one(model: Path) -> None:
    assert keep(verdict(model)) == keep(verdict(model, "2026-11-21T08:00:00Z"))
    found = find(about(model), [model])
    assert found is not None
    assert found.checked_at == "2026-11-21T08:00:00Z"


@pytest.mark.parametrize("other", [("int8", "cpu"), ("bf16", "cuda")])
def test_another_precision_or_device_has_no_verdict(model: Path, other: tuple[str, str]) -> None:
    keep(verdict(model))
    assert find(about(model, *other), [model]) is None


def test_other_versions_of_what_computes_have_no_verdict(model: Path) -> None:
    keep(verdict(model))
    newer = about(model).model_copy(update={"versions": {"torch": "99"}})
    assert about(model).versions["auricle"]
    assert find(newer, [model]) is None


def test_other_bytes_of_the_same_size_have_no_verdict(model: Path) -> None:
    keep(verdict(model))
    model.write_bytes(b"Weights")
    assert find(about(model), [model]) is None


def test_a_damaged_verdict_is_none(model: Path) -> None:
    keep(verdict(model)).write_text("{")
    assert find(about(model), [model]) is None


def test_the_files_of_a_model_are_found_beside_it_or_within_it(model: Path) -> None:
    folder = model.parent / "folder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "b.onnx").write_text("b")
    assert files_of(model, ["a.nemo"]) == [model]
    assert files_of(folder, ["b.onnx"]) == [folder / "b.onnx"]
    assert files_of(folder / "b.onnx", ["config.json"]) == [folder / "config.json"]
    assert files_of(folder, ["folder"]) == [folder / "b.onnx", folder / "config.json"]
    with pytest.raises(ModelError, match="a file of the model is not there"):
        files_of(folder, ["c.onnx"])
