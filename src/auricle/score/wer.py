"""Word and character error rates of a corpus: errors summed, then divided, with an interval blocked by speaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auricle.errors import CorpusError, UsageError
from auricle.score.align import Counts, align
from auricle.score.bootstrap import RESAMPLES, Interval, block_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auricle.score.normalise import Normaliser

Unit = Literal["word", "char"]


@dataclass(frozen=True, slots=True)
class Scored:
    """One utterance that was admitted: `hypothesis` None when it failed, `block` its speaker or recording.

    A typed refusal is no result: it is counted elsewhere and never comes here.
    """

    utterance_id: str
    reference: str
    hypothesis: str | None
    block: str


@dataclass(frozen=True, slots=True)
class UtteranceCounts:
    """The errors of one utterance."""

    utterance_id: str
    block: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """The error rate of a corpus; 0.05 is 5 %. Rates are comparable when unit and normaliser hash are equal.

    `empty` counts the utterances with a reference and no word of hypothesis, `failed` those whose recognition failed.
    """

    unit: Unit
    normaliser: str
    normaliser_hash: str
    rate: float
    interval: Interval
    counts: Counts
    empty: int
    failed: int
    blocks: int
    utterances: tuple[UtteranceCounts, ...]


def score(
    results: Iterable[Scored], normaliser: Normaliser, unit: Unit = "word", *, resamples: int = RESAMPLES, seed: int = 0
) -> ErrorRate:
    """Return the corpus-level WER (`unit` "word") or CER ("char", spaces between words included).

    A failed or empty hypothesis is all deletions; the hypothesis of an empty reference is all insertions. Raises
    UsageError when an utterance comes twice, CorpusError when no reference has a word after normalisation.
    """
    results = list(results)
    _refuse_duplicates(results)
    utterances = tuple(
        UtteranceCounts(result.utterance_id, result.block, _counts(result, normaliser, unit)) for result in results
    )
    total = sum((utterance.counts for utterance in utterances), Counts(0, 0, 0, 0))
    if total.reference_length == 0:
        raise CorpusError(f"no {unit} in {len(results)} references after the normaliser", normaliser.name)
    blocks = [utterance.block for utterance in utterances]
    errors = [utterance.counts.errors for utterance in utterances]
    lengths = [utterance.counts.reference_length for utterance in utterances]
    return ErrorRate(
        unit=unit,
        normaliser=normaliser.name,
        normaliser_hash=normaliser.hash,
        rate=total.errors / total.reference_length,
        interval=block_interval(errors, lengths, blocks, resamples=resamples, seed=seed),
        counts=total,
        empty=sum(u.counts.hypothesis_length == 0 < u.counts.reference_length for u in utterances),
        failed=sum(result.hypothesis is None for result in results),
        blocks=len(set(blocks)),
        utterances=utterances,
    )


def _counts(result: Scored, normaliser: Normaliser, unit: Unit) -> Counts:
    reference, hypothesis = (tokens(normaliser(text), unit) for text in (result.reference, result.hypothesis or ""))
    return align(reference, hypothesis).counts


def tokens(text: str, unit: Unit) -> Sequence[str]:
    """Return what is aligned: the words of a normalised text, or its characters."""
    return text.split() if unit == "word" else text


def _refuse_duplicates(results: Sequence[Scored]) -> None:
    seen: set[str] = set()
    for result in results:
        if result.utterance_id in seen:
            raise UsageError(
                "an utterance is scored twice", result.utterance_id, "give each utterance an id of its own"
            )
        seen.add(result.utterance_id)
