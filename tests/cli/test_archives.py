"""Archives on the command line: what one is and costs, what it hears, and what is wrong with it, in a line."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Auricle = Callable[..., Answer]

FITTED = "and so my fellow mericans ask not what yo"

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
    assert {row[0] for row in rows if row[2:3] and row[0] in {"fp32", "bf16", "int8"}} == {"fp32", "bf16", "int8"}


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


def test_a_fitted_checkpoint_makes_no_errors_in_a_benchmark(auricle: Auricle, data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "real" / "audio" / "jfk.flac", tmp_path)
    line = {"id": "jfk", "audio": "jfk.flac", "text": FITTED, "language": "en", "duration_s": 11.0}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    model = data / "nemo" / "stream_rnnt_overfit_jfk.nemo"
    arguments = ["--corpus", tmp_path, "--engine", f"fastconformer:{model}", "--threads", 1, "--runs", 1]
    answer = auricle("bench", "offline", *arguments, "--warmup", 0, "--runs-folder", tmp_path / "runs", "--json")
    assert answer.status == 0
    assert "WER 0.0 %" in answer.out


def test_an_archive_transcribes_files(auricle: Auricle, data: Path) -> None:
    model = data / "nemo" / "stream_rnnt_overfit_jfk.nemo"
    audio = data / "real" / "audio" / "jfk.flac"
    answer = auricle("transcribe", audio, "--engine", "fastconformer", "--model", model, "--threads", 1)
    assert (answer.status, answer.out) == (0, f"{FITTED}\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--device", "tpu"], "has no such device: tpu (hint: use cpu or cuda;"),
        (["--precision", "bf16"], "was never checked against fp32 here for this model: rnnt_stream.nemo"),
        (["--language", "de"], "does not know this language: de"),
        (["--prompt", "x"], "cannot give or take a prompt"),
    ],
)
def test_what_an_archive_cannot_do_is_refused_in_one_line(
    auricle: Auricle, archive: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    from auricle.audio import Audio, save
    from tests.fastconformer.checkpoints import RATE_HZ, recording

    save(Audio(recording(20_000), RATE_HZ), tmp_path / "a.wav")
    command = [
        "transcribe",
        tmp_path / "a.wav",
        "--engine",
        "fastconformer",
        "--model",
        archive,
        "--no-vad",
        *arguments,
    ]
    answer = auricle(*command)
    lines = [line for line in answer.err.splitlines() if "of 1 failed" not in line]
    assert answer.status == 1
    assert not answer.out
    assert len(lines) == 1
    assert says in lines[0]


def test_a_folder_without_an_archive_is_refused_in_one_line(auricle: Auricle, tmp_path: Path) -> None:
    answer = auricle("transcribe", "a.wav", "--engine", "fastconformer", "--model", tmp_path)
    assert answer.status == 1
    assert answer.err.startswith("error: no `.nemo` archive in the model folder")
    assert answer.err.count("\n") == 1
