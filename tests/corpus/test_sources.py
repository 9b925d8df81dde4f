import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auricle.corpus import corpora_folder, import_corpus, known_corpora, open_corpus
from auricle.corpus.types import DefectiveCorpusError
from auricle.errors import CorpusError, UsageError

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of corpora, an empty one of this test."""
    monkeypatch.setenv("AURICLE_DATA", str(tmp_path / "data"))
    yield tmp_path / "data" / "corpora"
    assert not list(tmp_path.rglob(".*"))


@pytest.fixture
def calls(record: Write, manifest: Write) -> Path:
    """A corpus of two whole files of different formats, and a stretch of a third."""
    record("one.wav", seed=1)
    record("far/two.opus", seed=2)
    record("long.flac", seconds=2.0, seed=3)
    return manifest(
        {"audio": "one.wav", "text": "one", "speaker": "ann", "licence": "CC0"},
        {"audio": "far/two.opus", "text": "दो", "language": "hi", "id": "a/b: c?"},
        {"audio": "long.flac", "text": "three", "offset_s": 0.5, "duration_s": 1.25},
        name="calls.jsonl",
    )


def test_an_unknown_name_is_refused_with_what_is_known(kept: Path, calls: Path) -> None:
    import_corpus(str(calls), kept / "mine")
    with pytest.raises(
        CorpusError, match=r"no such corpus or path: nosuch \(hint: known are demo, demo-digits, mine, PATH, fleurs:"
    ):
        open_corpus("nosuch")
    with pytest.raises(CorpusError, match="no such corpus or path"):
        open_corpus("")


def test_the_digit_strings_of_the_demo_corpus_are_a_corpus_too() -> None:
    words = {word for one in open_corpus("demo-digits").utterances for word in one.text.split()}
    assert words == {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
    assert len(open_corpus("demo-digits").utterances) == 24
    assert open_corpus("demo-digits").hash != open_corpus("demo").hash


def test_an_imported_corpus_is_opened_by_its_name(kept: Path, calls: Path) -> None:
    imported = import_corpus(str(calls), kept / "mine")
    assert open_corpus("mine") == imported
    assert known_corpora()["mine"] == f"in {kept / 'mine'}"
    assert corpora_folder() == kept


def test_importing_keeps_whole_files_and_their_hash(kept: Path, calls: Path) -> None:
    original = open_corpus(str(calls)).select(ids=("one", "a/b: c?"))
    imported = import_corpus(str(calls), kept / "mine").select(ids=("one", "a/b: c?"))
    assert imported.hash == original.hash
    assert imported.licence == "CC0"
    assert [one.audio.name for one in imported.utterances] == ["00000-one.wav", "00001-a_b_c_.opus"]


def test_importing_cuts_stretches_out_of_their_files(kept: Path, calls: Path) -> None:
    before = open_corpus(str(calls)).utterances[2]
    after = import_corpus(str(calls), kept / "mine").utterances[2]
    assert (after.id, after.is_cut, after.offset_s, after.duration_s) == (before.id, False, 0.0, 1.25)
    assert after.load().samples.tolist() == before.load().samples.tolist()


def test_an_imported_folder_can_be_moved(kept: Path, calls: Path, tmp_path: Path) -> None:
    imported = import_corpus(str(calls), kept / "mine")
    before = imported.hash
    (kept / "mine").rename(tmp_path / "moved")
    moved = open_corpus(str(tmp_path / "moved"))
    assert (moved.hash, moved.name) == (before, "moved")


def test_importing_a_defective_corpus_lists_its_problems_and_leaves_nothing(
    kept: Path, record: Write, manifest: Write
) -> None:
    record("a.wav")
    path = manifest({"audio": "a.wav", "text": ""}, {"audio": "gone.wav", "text": "gone", "duration_s": 1})
    with pytest.raises(DefectiveCorpusError) as caught:
        import_corpus(str(path), kept / "mine")
    assert [problem.kind for problem in caught.value.problems] == ["empty text", "missing file"]
    assert not kept.exists()


def test_importing_never_replaces_what_is_there(kept: Path, calls: Path) -> None:
    (kept / "mine").mkdir(parents=True)
    (kept / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(CorpusError, match="something here already"):
        import_corpus(str(calls), kept / "mine")
    (kept / "mine" / "notes.txt").unlink()
    assert import_corpus(str(calls), kept / "mine").utterances


def test_an_interrupted_import_leaves_nothing(kept: Path, calls: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_corpus(str(calls), kept / "mine", progress=interrupt)
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("spec", ["fleurs:", "fleurs:hi_in:validation", "fleurs:../x", "librispeech:clean"])
def test_a_malformed_public_corpus_is_a_usage_error(spec: str) -> None:
    with pytest.raises(UsageError, match="no such"):
        open_corpus(spec)


def test_opening_a_corpus_imports_nothing_heavy(calls: Path) -> None:
    heavy = {"torch", "onnxruntime", "transformers", "huggingface_hub", "espeakng_loader", "scipy", "jiwer"}
    code = "import sys; from auricle.corpus import open_corpus; open_corpus(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, calls], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())
