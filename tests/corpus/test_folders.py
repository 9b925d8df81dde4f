from collections.abc import Callable
from pathlib import Path

import pytest

from auricle.corpus import open_corpus
from auricle.corpus.types import DefectiveCorpusError

Record = Callable[..., Path]


def texts(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


@pytest.fixture
def librispeech(record: Record, tmp_path: Path) -> Path:
    for name in ("61-7-0000", "61-7-0001"):
        record(f"LibriSpeech/test-clean/61/7/{name}.flac", seed=int(name[-1]))
    record("LibriSpeech/test-clean/908/3/908-3-0000.flac", seconds=0.8)
    folder = tmp_path / "LibriSpeech" / "test-clean"
    (folder / "61/7/61-7.trans.txt").write_text("61-7-0000 HE HOPED\n61-7-0001 STUFF IT\n")
    (folder / "908/3/908-3.trans.txt").write_text("908-3-0000 IT IS NOT\n")
    return folder


def test_a_librispeech_folder_is_read(librispeech: Path) -> None:
    corpus = open_corpus(str(librispeech))
    assert [(one.id, one.text, one.language, one.speaker, one.duration_s) for one in corpus.utterances] == [
        ("61-7-0000", "HE HOPED", "en", "61", 0.5),
        ("61-7-0001", "STUFF IT", "en", "61", 0.5),
        ("908-3-0000", "IT IS NOT", "en", "908", 0.8),
    ]
    assert (corpus.name, corpus.licence) == ("test-clean", "CC BY 4.0")


def test_every_file_that_librispeech_lacks_is_listed(librispeech: Path) -> None:
    (librispeech / "61/7/61-7-0001.flac").unlink()
    (librispeech / "908/3/908-3-0000.flac").write_bytes(b"")
    with pytest.raises(DefectiveCorpusError) as caught:
        open_corpus(str(librispeech))
    assert [(problem.kind, problem.where) for problem in caught.value.problems] == [
        ("missing file", "61/7/61-7.trans.txt:2"),
        ("undecodable audio", "908/3/908-3.trans.txt:1"),
    ]


def test_a_folder_of_audio_and_texts_is_read_in_any_format(record: Record, tmp_path: Path) -> None:
    record("calls/b/1.opus", seconds=1.0)
    record("calls/a/1.wav")
    texts(tmp_path / "calls/a", **{"1": "\ufeffgood\n  morning \n"})
    texts(tmp_path / "calls/b", **{"1": "शुभ रात्रि", "README": "not a transcript"})
    corpus = open_corpus(str(tmp_path / "calls"), language="hi")
    assert [(one.id, one.text, one.language, one.speaker) for one in corpus.utterances] == [
        ("a/1", "good morning", "hi", None),
        ("b/1", "शुभ रात्रि", "hi", None),
    ]


def test_everything_without_a_partner_is_listed(record: Record, tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        record(f"calls/{name}.wav", seed=seed)
    texts(tmp_path / "calls", a="fine", d="no audio")
    (tmp_path / "calls/b.txt").write_bytes(b"\xff\xfe not utf-8")
    with pytest.raises(DefectiveCorpusError) as caught:
        open_corpus(str(tmp_path / "calls"))
    assert [(problem.kind, problem.where) for problem in caught.value.problems] == [
        ("bad line", "b.wav"),
        ("missing file", "c.wav"),
        ("missing file", "d.txt"),
    ]


def test_a_folder_without_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefectiveCorpusError, match="no utterances"):
        open_corpus(str(tmp_path))
