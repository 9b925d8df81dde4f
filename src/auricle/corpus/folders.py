"""Folders that hold a corpus without a manifest: LibriSpeech, and audio files with texts of the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.corpus.manifest import make_reading, measure
from auricle.corpus.types import UNDETERMINED, Problem, Reading, Utterance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIBRISPEECH_LICENCE = "CC BY 4.0"
TRANSCRIPT_SUFFIX = ".trans.txt"
AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".mp3", ".m4a", ".mp4", ".aac", ".ogg", ".oga", ".opus", ".webm", ".mka", ".aif", ".aiff", ".au")
)
_NOT_TRANSCRIPTS = frozenset(("readme", "license", "licence", "copying"))


def read_librispeech(folder: Path) -> Reading:
    """Read every `*.trans.txt` below a folder, each with its FLAC files beside it; an id begins with its speaker."""
    transcripts = sorted(folder.rglob(f"*{TRANSCRIPT_SUFFIX}"))
    found = [one for transcript in transcripts for one in _chapter(transcript, folder)]
    return make_reading(folder, found, LIBRISPEECH_LICENCE)


def read_pairs(folder: Path, language: str = UNDETERMINED) -> Reading:
    """Read every audio file below a folder, each with its transcript in a UTF-8 text file of the same name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    audio = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    texts = {path for path in files if path.suffix.lower() == ".txt" and path.stem.lower() not in _NOT_TRANSCRIPTS}
    orphans = texts - {path.with_suffix(".txt") for path in audio}
    found: list[Utterance | Problem] = [_described(path, folder, language) for path in audio]
    found += [
        Problem("missing file", path.relative_to(folder).as_posix(), "no audio file of the same name")
        for path in sorted(orphans)
    ]
    return make_reading(folder, found, None)


def read_text(path: Path, where: str) -> str | Problem:
    """Read a UTF-8 text file, or return the problem that it has."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return Problem("missing file", where, f"no text file {path.name} beside it")
    except UnicodeDecodeError as error:
        return Problem("bad line", where, f"{path.name} is not UTF-8 text: {error.reason} at byte {error.start}")


def _chapter(transcript: Path, folder: Path) -> Iterator[Utterance | Problem]:
    where = transcript.relative_to(folder).as_posix()
    text = read_text(transcript, where)
    if isinstance(text, Problem):
        yield text
        return
    for number, line in enumerate(text.splitlines(), 1):
        name, _, words = line.strip().partition(" ")
        if name:
            audio = transcript.parent / f"{name}.flac"
            yield _measured(audio, name, words.strip(), "en", name.split("-")[0], f"{where}:{number}")


def _described(audio: Path, folder: Path, language: str) -> Utterance | Problem:
    where = audio.relative_to(folder).as_posix()
    text = read_text(audio.with_suffix(".txt"), where)
    return text if isinstance(text, Problem) else _measured(audio, "", " ".join(text.split()), language, None, where)


def _measured(audio: Path, name: str, text: str, language: str, speaker: str | None, where: str) -> Utterance | Problem:
    duration_s = measure(audio, where)
    if isinstance(duration_s, Problem):
        return duration_s
    return Utterance(name, audio, text, language, speaker, duration_s)
