"""Whether a corpus can be measured with: every problem at once, found by decoding every file."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from auricle.audio import SAMPLE_RATE, blocks
from auricle.corpus.types import Problem, file_hash
from auricle.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auricle.corpus.types import Corpus, Progress, Utterance

DURATION_TOLERANCE_S = 0.1
WORD_TOLERANCE_S = 0.01


def check(corpus: Corpus, progress: Progress | None = None) -> list[Problem]:
    """Return all problems of a corpus: files, texts, duplicates, durations (to 0.1 s) and word times (to 10 ms).

    Every file is decoded whole; `progress` is told the files done and their number.
    """
    if not corpus.utterances:
        return [Problem("no utterances", corpus.name, "there is nothing to recognise in it")]
    by_file: dict[Path, list[Utterance]] = defaultdict(list)
    for utterance in corpus.utterances:
        by_file[utterance.audio].append(utterance)
    problems = [problem for utterance in corpus.utterances for problem in _wording(utterance)]
    problems += repeated_ids(corpus.utterances)
    hashes: dict[Path, str] = {}
    for done, (audio, utterances) in enumerate(by_file.items(), 1):
        length_s = decoded_length(audio, ", ".join(utterance.id for utterance in utterances))
        if isinstance(length_s, Problem):
            problems.append(length_s)
        else:
            problems += _wrong_durations(utterances, length_s)
            hashes[audio] = file_hash(audio)
        if progress:
            progress(done, len(by_file))
    return [*problems, *_repeated_audio(corpus.utterances, hashes)]


def decoded_length(audio: Path, where: str) -> float | Problem:
    """Decode a file in bounded memory and return its length in seconds, or the problem that it has."""
    if not audio.is_file():
        return Problem("missing file", where, str(audio))
    try:
        return sum(map(len, blocks(audio))) / SAMPLE_RATE
    except AudioError as error:
        return Problem("undecodable audio", where, str(error))


def repeated_ids(utterances: Sequence[Utterance]) -> Iterator[Problem]:
    """Yield a problem for every id that more than one utterance has."""
    files: dict[str, list[str]] = defaultdict(list)
    for utterance in utterances:
        files[utterance.id].append(utterance.audio.name)
    for name, uses in files.items():
        if len(uses) > 1:
            yield Problem("duplicate id", name, f"used by {', '.join(uses)}")


def _wording(utterance: Utterance) -> Iterator[Problem]:
    if not utterance.text.strip():
        yield Problem("empty text", utterance.id, f"nothing is written for {utterance.audio.name}")
    for word in utterance.words:
        if not -WORD_TOLERANCE_S <= word.start <= word.end <= utterance.duration_s + WORD_TOLERANCE_S:
            detail = f"{word.text!r} at {word.start:g}-{word.end:g} s is not inside {utterance.duration_s:g} s of audio"
            yield Problem("bad word times", utterance.id, detail)
    for word, following in pairwise(utterance.words):
        if following.start < word.end - WORD_TOLERANCE_S:
            detail = f"{following.text!r} at {following.start:g} s begins before {word.text!r} ends at {word.end:g} s"
            yield Problem("bad word times", utterance.id, detail)


def _wrong_durations(utterances: Sequence[Utterance], length_s: float) -> Iterator[Problem]:
    for utterance in utterances:
        end_s = utterance.offset_s + utterance.duration_s
        excess_s = end_s - length_s
        if excess_s > DURATION_TOLERANCE_S or (not utterance.is_cut and -excess_s > DURATION_TOLERANCE_S):
            detail = f"it should end at {end_s:.3f} s, and the audio ends at {length_s:.3f} s"
            yield Problem("wrong duration", utterance.id, detail)


def _repeated_audio(utterances: Sequence[Utterance], hashes: dict[Path, str]) -> Iterator[Problem]:
    uses: dict[tuple[str, float, float], list[str]] = defaultdict(list)
    for utterance in utterances:
        if utterance.audio in hashes:
            cut = (utterance.offset_s, utterance.duration_s) if utterance.is_cut else (0.0, 0.0)
            uses[hashes[utterance.audio], *cut].append(utterance.id)
    for names in uses.values():
        if len(names) > 1:
            yield Problem("duplicate audio", names[0], f"the same sound as {', '.join(names[1:])}")
