"""JSON-lines manifests, read and written: Auricle's own and NeMo's, whose keys differ and may be mixed.

One object a line. `audio` (or `audio_filepath`; relative to the manifest) and `text` are needed; `id`, `language`
(`lang`), `speaker`, `duration_s` (`duration`), `offset_s` (`offset`), `words` and `licence` may be left out. With an
offset, the utterance is a stretch of the file. Other keys are left alone.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from auricle.audio import probe
from auricle.corpus.checks import decoded_length
from auricle.corpus.types import MANIFEST_NAME, UNDETERMINED, Corpus, Problem, Reading, Utterance
from auricle.errors import AudioError, CorpusError
from auricle.files import write_text
from auricle.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_EXACT_CONTAINERS = frozenset(("wav", "flac"))
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Line(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True, allow_inf_nan=False)


class _WordEntry(_Line):
    text: str = Field(validation_alias=AliasChoices("word", "text"))
    start: float
    end: float


class _Entry(_Line):
    audio: str = Field(validation_alias=AliasChoices("audio", "audio_filepath"), min_length=1)
    text: str
    id: str | None = Field(default=None, min_length=1)
    language: str | None = Field(default=None, validation_alias=AliasChoices("language", "lang"))
    speaker: str | None = None
    duration_s: float | None = Field(default=None, validation_alias=AliasChoices("duration_s", "duration"), gt=0)
    offset_s: float | None = Field(default=None, validation_alias=AliasChoices("offset_s", "offset"), ge=0)
    words: list[_WordEntry] = []
    licence: str | None = None


def read_manifest(path: Path, language: str = UNDETERMINED) -> Reading:
    """Read a manifest; `language` is for the lines that state none. Raises CorpusError when it cannot be opened."""
    try:
        lines = path.read_bytes().removeprefix(_BYTE_ORDER_MARK).splitlines()
    except OSError as error:
        raise CorpusError("manifest cannot be read", path, error.strerror) from error
    found: list[Utterance | Problem] = []
    licences: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        where = f"{path.name}:{number}"
        if not line.strip():
            continue
        try:
            entry = _Entry.model_validate_json(line)
        except ValidationError as error:
            found.append(Problem("bad line", where, _explain(error)))
            continue
        if entry.licence:
            licences[entry.licence] = None
        found.append(_utterance(entry, path.parent, language, where))
    return make_reading(path, found, "; ".join(licences) or None)


def make_reading(source: Path, found: Sequence[Utterance | Problem], licence: str | None) -> Reading:
    """Sort what a source on this machine gave; utterances without an id get one, and an empty source is a problem."""
    utterances = [one for one in found if isinstance(one, Utterance)]
    problems = [one for one in found if isinstance(one, Problem)]
    if not found:
        problems = [Problem("no utterances", source.name, "there is nothing to recognise in it")]
    root = source if source.is_dir() else source.parent
    name = root.resolve().name if source.is_dir() or source.name == MANIFEST_NAME else source.stem
    return Reading(Corpus(name, tuple(_with_ids(utterances)), licence, str(source), root), tuple(problems))


def measure(audio: Path, where: str) -> float | Problem:
    """Return the length of a file in seconds, by its header where that is exact, or the problem that it has."""
    try:
        info = probe(audio)
    except AudioError:
        return decoded_length(audio, where)
    if info.duration_s is not None and info.container in _EXACT_CONTAINERS:
        return info.duration_s
    return decoded_length(audio, where)


def write_manifest(corpus: Corpus, path: Path) -> None:
    """Write a corpus as Auricle's manifest, atomically; audio beneath the manifest's folder is named relative to it."""
    rows = (_row(utterance, corpus.licence, path.parent) for utterance in corpus.utterances)
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _utterance(entry: _Entry, folder: Path, language: str, where: str) -> Utterance | Problem:
    audio = folder / entry.audio
    offset_s = entry.offset_s or 0.0
    duration_s = entry.duration_s
    if duration_s is None:
        measured = measure(audio, where)
        if isinstance(measured, Problem):
            return measured
        duration_s = measured - offset_s
        if duration_s <= 0:
            return Problem("wrong duration", where, f"it begins at {offset_s:g} s, the audio ends at {measured:g} s")
    return Utterance(
        id=entry.id or "",
        audio=audio,
        text=entry.text,
        language=entry.language or language,
        speaker=entry.speaker,
        duration_s=duration_s,
        offset_s=offset_s,
        words=tuple(Word(word.text, word.start, word.end) for word in entry.words),
        is_cut=entry.offset_s is not None,
    )


def _with_ids(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Name the nameless after their file, and after its folder too where file names repeat."""
    nameless = {utterance.audio for utterance in utterances if not utterance.id}
    uses = Counter(audio.stem for audio in nameless)
    return [one if one.id else replace(one, id=_id(one, uses[one.audio.stem] > 1)) for one in utterances]


def _id(utterance: Utterance, is_repeated: bool) -> str:
    audio = utterance.audio.with_suffix("")
    name = "/".join(audio.parts[-2:]) if is_repeated else audio.name
    return f"{name}@{utterance.offset_s:.3f}" if utterance.is_cut else name


def _explain(error: ValidationError) -> str:
    issues = (": ".join([".".join(map(str, issue["loc"])), issue["msg"]]) for issue in error.errors())
    return ", ".join(issue.removeprefix(": ").replace(" at line 1 column ", " at column ") for issue in issues)


def _row(utterance: Utterance, licence: str | None, folder: Path) -> dict[str, object]:
    audio = utterance.audio
    row: dict[str, object] = {
        "id": utterance.id,
        "audio": (audio.relative_to(folder) if audio.is_relative_to(folder) else audio.resolve()).as_posix(),
        "text": utterance.text,
        "language": utterance.language,
        "speaker": utterance.speaker,
        "duration_s": utterance.duration_s,
    }
    if utterance.is_cut:
        row["offset_s"] = utterance.offset_s
    if licence:
        row["licence"] = licence
    if utterance.words:
        row["words"] = [{"word": word.text, "start": word.start, "end": word.end} for word in utterance.words]
    return row
