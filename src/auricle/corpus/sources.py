"""The one way to name a corpus: a word for what is known, or a path for what is on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.corpus.checks import check, repeated_ids
from auricle.corpus.folders import TRANSCRIPT_SUFFIX, read_librispeech, read_pairs
from auricle.corpus.manifest import read_manifest
from auricle.corpus.storage import corpora_folder
from auricle.corpus.types import MANIFEST_NAME, UNDETERMINED, Corpus, DefectiveCorpusError, Problem, Reading
from auricle.errors import CorpusError

if TYPE_CHECKING:
    from auricle.corpus.types import Progress

DEMO = "demo"
DEMO_DIGITS = "demo-digits"
_FLEURS = "fleurs:"
_LIBRISPEECH = "librispeech:"
_MANIFEST_SUFFIXES = (".jsonl", ".json")
_PATTERNS = {
    "PATH": "a manifest (.jsonl, .json), a LibriSpeech folder, or a folder of audio files with .txt files",
    f"{_FLEURS}LANGUAGE[:SPLIT]": "FLEURS from the Hugging Face hub, such as fleurs:hi_in:test for Hindi",
    f"{_LIBRISPEECH}PART": "LibriSpeech from the Hugging Face hub, such as librispeech:test-clean",
}


def known_corpora() -> dict[str, str]:
    """Return what `open_corpus` takes: the names on this machine and the forms of others, each with a description."""
    kept = sorted(corpora_folder().glob(f"*/{MANIFEST_NAME}"))
    return {
        DEMO: "sentences and digit strings by four synthetic English voices, part of Auricle",
        DEMO_DIGITS: "the digit strings of these",
        **{path.parent.name: f"in {path.parent}" for path in kept},
        **_PATTERNS,
    }


def read_source(spec: str, language: str = UNDETERMINED) -> Reading:
    """Read what can be read of a corpus, with its problems; raises CorpusError for a name that is not known."""
    if spec in {DEMO, DEMO_DIGITS}:
        reading = read_manifest(Path(__file__).parent / DEMO / MANIFEST_NAME)
        return reading if spec == DEMO else _digits(reading)
    if spec.startswith(_FLEURS):
        from auricle.corpus.hub import read_fleurs

        return read_fleurs(spec.removeprefix(_FLEURS), corpora_folder())
    if spec.startswith(_LIBRISPEECH):
        from auricle.corpus.hub import read_librispeech_part

        return read_librispeech_part(spec.removeprefix(_LIBRISPEECH), corpora_folder())
    path = Path(spec)
    if spec and path.exists():
        return _read_path(path, language)
    kept = corpora_folder() / spec / MANIFEST_NAME
    if kept.is_file():
        return read_manifest(kept, language)
    remedy = "known are " + ", ".join(known_corpora())
    raise CorpusError("no such corpus or path", spec, remedy)


def open_corpus(spec: str, language: str = UNDETERMINED) -> Corpus:
    """Open a corpus by name or path; `language` is for a source that states none.

    Raises CorpusError listing what is known for a name that is not, DefectiveCorpusError with all problems of a corpus
    that cannot be read whole, DownloadError for one that cannot be fetched.
    """
    reading = read_source(spec, language)
    if problems := [*reading.problems, *repeated_ids(reading.corpus.utterances)]:
        raise DefectiveCorpusError(spec, problems)
    return reading.corpus


def check_source(spec: str, progress: Progress | None = None) -> list[Problem]:
    """Return all problems of a corpus by name or path, those that keep it from being opened included."""
    reading = read_source(spec)
    unread = list(reading.problems)
    return unread + check(reading.corpus, progress) if reading.corpus.utterances else unread


def _digits(reading: Reading) -> Reading:
    utterances = tuple(one for one in reading.corpus.utterances if one.id.startswith(DEMO_DIGITS))
    return replace(reading, corpus=replace(reading.corpus, name=DEMO_DIGITS, utterances=utterances))


def _read_path(path: Path, language: str) -> Reading:
    if path.is_file():
        if path.suffix.lower() not in _MANIFEST_SUFFIXES:
            raise CorpusError("not a manifest", path, f"name a folder, or a file of JSON lines: {_MANIFEST_SUFFIXES}")
        return read_manifest(path, language)
    if (path / MANIFEST_NAME).is_file():
        return read_manifest(path / MANIFEST_NAME, language)
    if next(path.rglob(f"*{TRANSCRIPT_SUFFIX}"), None):
        return read_librispeech(path)
    return read_pairs(path, language)
