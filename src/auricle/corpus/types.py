"""What a corpus is: utterances with their texts, a content hash, and the problems that a check finds."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from auricle.audio import SAMPLE_RATE, Audio, blocks, load
from auricle.errors import AudioError, CorpusError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from auricle.transcript import Word

    Progress = Callable[[int, int], None]

UNDETERMINED = "und"  # BCP 47: the language is not stated
MANIFEST_NAME = "manifest.jsonl"

ProblemKind = Literal[
    "bad line",
    "missing file",
    "undecodable audio",
    "empty text",
    "duplicate id",
    "duplicate audio",
    "wrong duration",
    "bad word times",
    "no utterances",
]


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording and what is said in it; times in seconds, `language` a BCP 47 tag (`und` where none is stated).

    `words` are timed from the start of the utterance. When `is_cut`, the utterance is the stretch of the file from
    `offset_s` for `duration_s`; otherwise it is the whole file.
    """

    id: str
    audio: Path
    text: str
    language: str
    speaker: str | None
    duration_s: float
    offset_s: float = 0.0
    words: tuple[Word, ...] = ()
    is_cut: bool = False

    def load(self, rate: int = SAMPLE_RATE) -> Audio:
        """Decode the utterance alone, mono samples of shape `(samples,)`.

        Raises AudioError as `auricle.audio.load`, and for a stretch that begins after the end of the file.
        """
        return self._load_cut(rate) if self.is_cut else load(self.audio, rate)

    def _load_cut(self, rate: int) -> Audio:
        first = round(self.offset_s * rate)
        last = first + round(self.duration_s * rate)
        kept, start = [np.zeros(0, np.float32)], 0
        with closing(blocks(self.audio, rate)) as decoded:
            for block in decoded:
                kept.append(block[max(first - start, 0) : max(last - start, 0)])
                start += len(block)
                if start >= last:
                    break
        samples = np.concatenate(kept)
        if not len(samples):
            raise AudioError("utterance begins after the end of its file", f"{self.id} at {self.offset_s:g} s")
        return Audio(samples, rate, f"{self.audio} from {self.offset_s:g} s")


@dataclass(frozen=True)
class Corpus:
    """Utterances under a name; `source` says where they come from, `root` is the folder they were read from."""

    name: str
    utterances: tuple[Utterance, ...]
    licence: str | None
    source: str
    root: Path

    @property
    def duration_s(self) -> float:
        """Length of all utterances together, in seconds."""
        return sum(utterance.duration_s for utterance in self.utterances)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages in it, sorted."""
        return tuple(sorted({utterance.language for utterance in self.utterances}))

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of what the utterances are (id, text, language, speaker, audio bytes, cut), in hexadecimal.

        It depends neither on where the files lie nor on their order. Raises CorpusError for a file that cannot be read.
        """
        digests = {path: file_hash(path) for path in {utterance.audio for utterance in self.utterances}}
        rows = [
            [u.id, u.text, u.language, u.speaker, digests[u.audio], [u.offset_s, u.duration_s] if u.is_cut else None]
            for u in sorted(self.utterances, key=lambda u: u.id)
        ]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()

    def select(self, *, language: str | None = None, limit: int | None = None, ids: Sequence[str] = ()) -> Corpus:
        """Return the part in one language (`en` includes `en-GB`), or with these ids, cut to the first `limit`.

        Raises CorpusError when an id is unknown or nothing is left.
        """
        if unknown := set(ids) - {utterance.id for utterance in self.utterances}:
            raise CorpusError(f"no such utterance in corpus {self.name}", ", ".join(sorted(unknown)))
        chosen = [
            utterance
            for utterance in self.utterances
            if (not ids or utterance.id in ids) and (language is None or speaks(utterance.language, language))
        ][:limit]
        if not chosen:
            remedy = f"its languages are {', '.join(self.languages)}"
            raise CorpusError(f"corpus {self.name} has no such utterances", language, remedy)
        return replace(self, utterances=tuple(chosen))


@dataclass(frozen=True, slots=True)
class Problem:
    """One defect of a corpus: `where` names the manifest line, file or utterance."""

    kind: ProblemKind
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read of a source: the usable utterances, and every problem met on the way."""

    corpus: Corpus
    problems: tuple[Problem, ...]


class DefectiveCorpusError(CorpusError):
    """A corpus has problems; all of them are in `problems`, and in the message."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count} in corpus {source}", "; ".join(map(str, problems)), "mend or remove these entries")
        self.problems = tuple(problems)
        self.args = (source, self.problems)  # what pickle calls the class with


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal; raises CorpusError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError("audio file cannot be read", path, error.strerror) from error


def speaks(tag: str, wanted: str) -> bool:
    """Whether a language tag is the wanted language or a variety of it: `en-GB` is `en`, not the other way round."""
    return tag.lower() == wanted.lower() or tag.lower().startswith(f"{wanted.lower()}-")
