import shutil
from collections.abc import Callable
from pathlib import Path

from auricle.corpus import check, check_source, open_corpus

Write = Callable[..., Path]


def kinds(spec: Path) -> list[tuple[str, str]]:
    return [(problem.kind, problem.where) for problem in check_source(str(spec))]


def test_a_sound_corpus_has_no_problems_and_progress_counts_its_files(record: Write, manifest: Write) -> None:
    rows: list[dict[str, object]] = [
        {"audio": record(f"{name}.flac", seed=seed).name, "text": name, "duration_s": 0.55}
        for seed, name in enumerate("ab")
    ]
    rows[0]["words"] = [{"word": "a", "start": 0.1, "end": 0.2}, {"word": "b", "start": 0.195, "end": 0.555}]
    told: list[tuple[int, int]] = []
    assert check(open_corpus(str(manifest(*rows))), lambda done, total: told.append((done, total))) == []
    assert told == [(1, 2), (2, 2)]


def test_all_problems_are_found_at_once(record: Write, manifest: Write, tmp_path: Path) -> None:
    for seed, name in enumerate(("fine", "silent", "long", "cut", "garbage", "first")):
        record(f"{name}.wav", seed=seed)
    shutil.copy(tmp_path / "first.wav", tmp_path / "second.wav")
    data = (tmp_path / "garbage.wav").read_bytes()
    (tmp_path / "garbage.wav").write_bytes(b"\0" * len(data))
    backwards = [{"word": "b", "start": 0.3, "end": 0.4}, {"word": "a", "start": 0.1, "end": 0.2}]
    path = manifest(
        {"audio": "fine.wav", "text": "fine", "duration_s": 0.5},
        {"audio": "fine.wav", "text": "again", "duration_s": 0.5, "id": "fine"},
        '{"audio": "fine.wav"',
        {"audio": "gone.wav", "text": "gone", "duration_s": 0.5},
        {"audio": "silent.wav", "text": " \t", "duration_s": 0.5},
        {"audio": "long.wav", "text": "long", "duration_s": 0.7, "words": [{"word": "x", "start": 0.6, "end": 0.9}]},
        {"audio": "cut.wav", "text": "cut", "offset_s": 0.4, "duration_s": 0.3, "words": backwards, "id": "cut"},
        {"audio": "garbage.wav", "text": "garbage", "duration_s": 0.5},
        {"audio": "first.wav", "text": "one", "duration_s": 0.5},
        {"audio": "second.wav", "text": "two", "duration_s": 0.5},
    )
    assert kinds(path) == [
        ("bad line", "manifest.jsonl:3"),
        ("empty text", "silent"),
        ("bad word times", "long"),
        ("bad word times", "cut"),
        ("bad word times", "cut"),
        ("duplicate id", "fine"),
        ("missing file", "gone"),
        ("wrong duration", "long"),
        ("wrong duration", "cut"),
        ("undecodable audio", "garbage"),
        ("duplicate audio", "fine"),
        ("duplicate audio", "first"),
    ]


def test_stretches_of_one_file_are_not_the_same_sound(record: Write, manifest: Write) -> None:
    record("long.wav", seconds=2.0)
    rows = [{"audio": "long.wav", "text": "part", "offset_s": start, "duration_s": 1.0} for start in (0.0, 1.0)]
    assert kinds(manifest(*rows)) == []
    rows.append({**rows[0], "id": "again"})
    assert kinds(manifest(*rows)) == [("duplicate audio", "long@0.000")]


def test_a_duration_may_be_off_by_a_tenth_of_a_second(record: Write, manifest: Write) -> None:
    record("a.wav")
    assert kinds(manifest({"audio": "a.wav", "text": "near", "duration_s": 0.41})) == []
    assert kinds(manifest({"audio": "a.wav", "text": "far", "duration_s": 0.39})) == [("wrong duration", "a")]


def test_the_recordings_for_evaluation_are_sound(data: Path) -> None:
    corpus = open_corpus(str(data / "real" / "manifest.jsonl"))
    assert len(corpus.utterances) > 200
    assert {"en", "hi"} < set(corpus.languages)
    assert check(corpus.select(limit=60)) == []
