"""`auricle models inspect` tells what an archive is and costs, and what is wrong with one in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Auricle = Callable[..., Answer]

for package in ("torch", "sentencepiece", "yaml"):
    pytest.importorskip(package, reason="pip install 'auricle[torch]'")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.fastconformer.checkpoints import build

    return build("rnnt_stream", tmp_path_factory.mktemp("archive"))


def test_an_archive_is_shown_as_tables(auricle: Auricle, archive: Path) -> None:
    answer = auricle("models", "inspect", archive)
    assert answer.status == 0
    first, *rest = answer.out.splitlines()
    assert first.startswith("rnnt_stream.nemo · FastConformer RNN-T · 0.0")
    rows = [line.split() for line in rest]
    assert ["1120", "56", "13", "1052.5"] in [row[:4] for row in rows]
    assert any(row[:1] == ["float32"] for row in rows)
    assert len([row for row in rows if row[:1] == ["measured"]]) == 4


def test_an_archive_in_a_folder_is_described_as_json(auricle: Auricle, archive: Path) -> None:
    [row] = auricle("models", "inspect", archive.parent, "--json").rows
    [facts] = row["archives"]
    assert row["path"] == str(archive.parent)
    assert facts["architecture"]["encoder"]["layers"] == 2
    assert [each["chunk_ms"] for each in facts["latency_classes"]] == [1120, 560, 160, 80]


def test_why_a_model_is_not_live_is_told_beside_the_data(auricle: Auricle, tmp_path: Path) -> None:
    from tests.fastconformer.checkpoints import build

    answer = auricle("models", "inspect", build("hybrid_tdt", tmp_path))
    assert answer.status == 0
    assert "files only" in answer.out
    assert "durations" in answer.out
    assert "per_feature" in answer.err


def test_a_wrong_archive_is_refused_in_one_line(auricle: Auricle, archive: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.nemo"
    cut.write_bytes(archive.read_bytes()[:5000])
    for arguments in ([cut], [cut, "--json"]):
        answer = auricle("models", "inspect", *arguments)
        assert answer.status == 1
        assert not answer.out
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
        assert "hint: get the archive again" in answer.err
