import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auricle.corpus import open_corpus, write_manifest
from auricle.corpus.types import DefectiveCorpusError, Utterance
from auricle.errors import CorpusError
from auricle.transcript import Word

Write = Callable[..., Path]


def test_our_manifest_is_read_with_everything_it_says(record: Write, manifest: Write) -> None:
    audio = record("audio/one.flac")
    path = manifest(
        {
            "id": "first",
            "audio": "audio/one.flac",
            "text": "नमस्ते दुनिया",
            "language": "hi",
            "speaker": "asha",
            "duration_s": 0.5,
            "licence": "CC0",
            "words": [{"word": "नमस्ते", "start": 0.1, "end": 0.2}, {"text": "दुनिया", "start": 0.2, "end": 0.4}],
            "mood": "kept out without an error",
        }
    )
    corpus = open_corpus(str(path))
    words = (Word("नमस्ते", 0.1, 0.2), Word("दुनिया", 0.2, 0.4))
    assert corpus.utterances == (Utterance("first", audio, "नमस्ते दुनिया", "hi", "asha", 0.5, words=words),)
    assert (corpus.licence, corpus.source, corpus.root) == ("CC0", str(path), path.parent)


def test_a_nemo_manifest_is_read_with_offsets_as_stretches_of_the_file(record: Write, manifest: Write) -> None:
    audio = record("long.wav", seconds=3.0)
    path = manifest(
        {"audio_filepath": str(audio), "duration": 1.0, "offset": 0, "text": "one", "lang": "en"},
        {"audio_filepath": "long.wav", "duration": 1.5, "offset": 1.5, "text": "two"},
        name="train.json",
    )
    corpus = open_corpus(str(path))
    assert corpus.name == "train"
    assert [(one.id, one.language, one.offset_s, one.duration_s, one.is_cut) for one in corpus.utterances] == [
        ("long@0.000", "en", 0.0, 1.0, True),
        ("long@1.500", "und", 1.5, 1.5, True),
    ]


def test_a_language_can_be_given_for_the_lines_that_state_none(record: Write, manifest: Write) -> None:
    record("a.wav")
    record("b.wav")
    path = manifest({"audio": "a.wav", "text": "un", "language": "fr"}, {"audio": "b.wav", "text": "one"})
    assert [one.language for one in open_corpus(str(path), language="en").utterances] == ["fr", "en"]


def test_a_duration_that_is_not_stated_is_measured(record: Write, manifest: Write) -> None:
    record("a.opus", seconds=0.7)
    record("b.flac", seconds=1.25)
    path = manifest(
        {"audio": "a.opus", "text": "one"},
        {"audio": "b.flac", "text": "two"},
        {"audio": "b.flac", "offset_s": 1, "text": "a rest"},
    )
    assert [one.duration_s for one in open_corpus(str(path)).utterances] == pytest.approx([0.7, 1.25, 0.25], abs=1e-3)


def test_files_of_the_same_name_are_told_apart_by_their_folder(record: Write, manifest: Write) -> None:
    rows = [{"audio": record(f"{name}.wav").as_posix(), "text": "hi"} for name in ("ann/1", "bob/1", "bob/2")]
    assert [one.id for one in open_corpus(str(manifest(*rows))).utterances] == ["ann/1", "bob/1", "2"]


def test_numbers_are_taken_for_names_and_a_byte_order_mark_is_no_part_of_the_text(
    record: Write, tmp_path: Path
) -> None:
    record("a.wav")
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"audio": "a.wav", "text": "hi", "id": 7, "speaker": 12}\r\n\r\n')
    (only,) = open_corpus(str(path)).utterances
    assert (only.id, only.speaker) == ("7", "12")


def test_a_line_separator_inside_a_text_does_not_end_the_line(record: Write, manifest: Write) -> None:
    record("a.wav")
    path = manifest('{"audio": "a.wav", "text": "one\u2028two"}')
    assert open_corpus(str(path)).utterances[0].text == "one\u2028two"


def test_every_bad_line_is_listed_at_once(record: Write, manifest: Write) -> None:
    record("a.wav")
    (record("b.wav")).write_bytes(b"not audio at all")
    path = manifest(
        {"audio": "a.wav", "text": "fine"},
        '{"audio": "a.wav", "text": "cut sh',
        "[1, 2]",
        {"text": "no audio"},
        {"audio": "a.wav", "text": None, "duration_s": -1},
        {"audio": "a.wav", "text": "", "words": [{"word": "x", "start": "soon", "end": 1}]},
        '{"audio": "a.wav", "text": "nan", "duration_s": NaN}',
        {"audio": "gone.wav", "text": "missing"},
        {"audio": "b.wav", "text": "undecodable"},
        {"audio": "a.wav", "text": "late", "offset_s": 9},
    )
    with pytest.raises(DefectiveCorpusError) as caught:
        open_corpus(str(path))
    found = [(problem.where, problem.kind) for problem in caught.value.problems]
    assert found == [
        *((f"manifest.jsonl:{line}", "bad line") for line in range(2, 8)),
        ("manifest.jsonl:8", "missing file"),
        ("manifest.jsonl:9", "undecodable audio"),
        ("manifest.jsonl:10", "wrong duration"),
    ]
    details = [problem.detail for problem in caught.value.problems]
    assert "EOF while parsing" in details[0]
    assert "at line" not in details[0]
    assert details[2] == "audio: Field required"
    assert "text: " in details[3]
    assert "duration_s: " in details[3]
    assert "words.0.start: " in details[4]
    assert "\n" not in str(caught.value)


def test_a_line_that_is_not_utf8_is_a_bad_line(record: Write, tmp_path: Path) -> None:
    record("a.wav")
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b'{"audio": "a.wav", "text": "\xff\xfe"}\n')
    with pytest.raises(DefectiveCorpusError, match=r"manifest\.jsonl:1: bad line"):
        open_corpus(str(path))


def test_an_empty_manifest_is_refused(manifest: Write) -> None:
    with pytest.raises(DefectiveCorpusError, match="no utterances"):
        open_corpus(str(manifest("", "  ")))


def test_two_utterances_of_one_id_are_refused(record: Write, manifest: Write) -> None:
    record("a.wav")
    path = manifest({"audio": "a.wav", "text": "one"}, {"audio": "a.wav", "text": "two"})
    with pytest.raises(DefectiveCorpusError, match=r"a: duplicate id: used by a\.wav, a\.wav"):
        open_corpus(str(path))


def test_what_is_written_is_what_was_read(record: Write, manifest: Write, tmp_path: Path) -> None:
    record("audio/a.wav")
    record("b.flac", seconds=2.0)
    words = [{"word": "hi", "start": 0.1, "end": 0.3}]
    corpus = open_corpus(
        str(
            manifest(
                {"audio": "audio/a.wav", "text": "hi", "language": "en", "words": words, "licence": "CC0"},
                {"audio": "b.flac", "text": "ॐ", "speaker": "x", "offset_s": 0.5, "duration_s": 2 / 3},
            )
        )
    )
    copy = tmp_path / "copy.jsonl"
    write_manifest(corpus, copy)
    again = open_corpus(str(copy))
    assert replace(again, name=corpus.name, source=corpus.source) == corpus
    assert again.hash == corpus.hash
    assert json.loads(copy.read_text(encoding="utf-8").splitlines()[0])["audio"] == "audio/a.wav"


def test_audio_outside_the_folder_of_the_manifest_is_named_in_full(
    record: Write, manifest: Write, tmp_path: Path
) -> None:
    record("a.wav")
    corpus = open_corpus(str(manifest({"audio": "a.wav", "text": "hi"})))
    write_manifest(corpus, tmp_path / "elsewhere" / "m.jsonl")
    assert open_corpus(str(tmp_path / "elsewhere" / "m.jsonl")).hash == corpus.hash


def test_a_manifest_that_is_not_there_or_not_json_lines_is_refused(record: Write, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such corpus or path"):
        open_corpus(str(tmp_path / "none.jsonl"))
    with pytest.raises(CorpusError, match=r"not a manifest: .*a\.wav"):
        open_corpus(str(record("a.wav")))
