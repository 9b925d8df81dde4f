"""Error rates and alignments of recorded texts, each utterance normalised for its own language."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from auricle.errors import CorpusError
from auricle.score import normalise
from auricle.score.align import Alignment, align
from auricle.score.wer import ErrorRate, Scored, Unit, score, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from auricle.score.normalise import Normaliser

Event = dict[str, Any]


def normaliser_for(name: str | None, language: str) -> Normaliser:
    """Return the normaliser that was asked for, or the one that suits the language; raises UsageError."""
    return normalise.for_language(language) if name is None else normalise.get(name, language)


def described(name: str | None, languages: Iterable[str]) -> dict[str, Any]:
    """Return name, hash and notes of what normalises texts in these languages, as run records hold them."""
    used = {language: normaliser_for(name, language) for language in sorted(set(languages))}
    names = sorted({normaliser.name for normaliser in used.values()})
    hashes = sorted({normaliser.hash for normaliser in used.values()})
    one = hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()[: len(hashes[0])]
    return {
        "name": ", ".join(names),
        "hash": one,
        "notes": sorted({f"{language}: {n.note}" for language, n in used.items() if n.note}),
    }


def quality(
    utterances: Mapping[str, Event], texts: Mapping[str, str | None], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return WER and CER of the texts with their caveats; a rate is None when no reference has a word."""
    scored = list(_scored(utterances, texts, settings["normaliser"]))
    rates: dict[str, Any] = {}
    caveats: list[str] = []
    empty = 0
    units: tuple[tuple[str, Unit], ...] = (("wer", "word"), ("cer", "char"))
    for key, unit in units:
        try:
            rate = score(scored, normalise.get("none"), unit, seed=settings["seed"])
        except CorpusError as error:
            rates[key] = None
            caveats.append(str(error))
            continue
        rates[key] = _fields(rate)
        caveats += [rate.interval.caveat] if rate.interval.caveat else []
        empty = rate.empty
    return {**rates, "empty": empty, "caveats": list(dict.fromkeys(caveats))}


def alignments(
    utterances: Mapping[str, Event], texts: Mapping[str, str | None], settings: Mapping[str, Any]
) -> Iterator[tuple[str, Alignment]]:
    """Yield the word alignment of every utterance that has errors."""
    for result in _scored(utterances, texts, settings["normaliser"]):
        aligned = align(tokens(result.reference, "word"), tokens(result.hypothesis or "", "word"))
        if aligned.counts.errors:
            yield result.utterance_id, aligned


def _scored(
    utterances: Mapping[str, Event], texts: Mapping[str, str | None], normaliser: str | None
) -> Iterator[Scored]:
    for name, text in texts.items():
        utterance = utterances[name]
        normalised = normaliser_for(normaliser, utterance["language"])
        yield Scored(
            name,
            normalised(utterance["reference"]),
            None if text is None else normalised(text),
            utterance["speaker"] or name,
        )


def _fields(rate: ErrorRate) -> dict[str, Any]:
    return {
        "rate": rate.rate,
        "low": rate.interval.low,
        "high": rate.interval.high,
        "method": rate.interval.method,
        "resampled": rate.interval.resampled,
        **asdict(rate.counts),
        "blocks": rate.blocks,
    }
