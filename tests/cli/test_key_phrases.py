"""`--keyword` and `--beam` on the command line."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from auricle.audio import Audio, save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Auricle = Callable[..., Answer]

MISSING = [package for package in ("torch", "sentencepiece", "yaml") if find_spec(package) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed; pip install 'auricle[torch]'")
if not MISSING:
    from tests.fastconformer.homophones import phrase, spoken, texts, turned, write

RATE = 16_000


def test_a_keyword_and_a_beam_are_honoured_in_files_and_live(auricle: Auricle, tmp_path: Path) -> None:
    text, path = texts()[0], tmp_path / "spoken.wav"
    save(Audio(spoken(text), RATE), path)
    model = ("--engine", "fastconformer", "--model", write(tmp_path))
    assert auricle("transcribe", path, *model, "--no-vad").out.strip() == text
    asked = ("--keyword", "zero zero", "--keyword", phrase(text))
    assert auricle("transcribe", path, *model, "--no-vad", *asked).out.strip() == turned(text)
    assert auricle("transcribe", path, *model, "--no-vad", *asked, "--beam", "3").out.strip() == turned(text)
    heard = auricle("listen", path, *model, "--unpaced", "--json", *asked)
    assert " ".join(row["text"] for row in heard.rows if row["event"] == "final").split() == turned(text).split()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--engine", "null", "--keyword", "Ada"), "keywords"),
        (("--engine", "null", "--beam", "2"), "beam"),
        (("--engine", "fastconformer", "--beam", "33"), "33"),
        (("--engine", "fastconformer", "--keyword", "Zürich"), "Zürich"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    auricle: Auricle, tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    path = tmp_path / "spoken.wav"
    save(Audio(spoken(texts()[0]), RATE), path)
    answer = auricle("transcribe", path, *options)
    assert answer.status != 0
    assert named in answer.err


def test_keywords_for_a_server_belong_to_its_address(auricle: Auricle, tmp_path: Path) -> None:
    path = tmp_path / "spoken.wav"
    save(Audio(spoken(texts()[0]), RATE), path)
    answer = auricle("listen", path, "--url", "ws://127.0.0.1:9/v1/listen", "--keyword", "Ada")
    assert answer.status == 2
    assert "keyterm" in answer.err
