"""Which of two runs makes fewer errors: paired over the utterances that both attempted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auricle.errors import UsageError
from auricle.score.bootstrap import MIN_SOUND, RESAMPLES, block_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.score.bootstrap import Interval
    from auricle.score.wer import ErrorRate, UtteranceCounts

Verdict = Literal["A better", "B better", "no difference found", "not enough"]
NonInferiority = Literal["not worse", "worse", "undecided"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Run B minus run A over the `utterances` that both attempted; 0.01 is one point more errors in B."""

    rate_a: float
    rate_b: float
    difference: float
    interval: Interval
    verdict: Verdict
    utterances: int
    only_a: int
    only_b: int


def compare(a: ErrorRate, b: ErrorRate, *, resamples: int = RESAMPLES, seed: int = 0) -> Difference:
    """Compare two runs; a failed utterance counts as wrong, one that only one run attempted does not count.

    The verdict is that of the 95 % interval, "not enough" below ten units, utterances or speakers. Raises UsageError
    when the runs were not normalised alike, differ in an utterance's reference or speaker, or have no utterance with
    words in common.
    """
    if (a.unit, a.normaliser_hash) != (b.unit, b.normaliser_hash):
        scored = " and ".join(f"{run.normaliser} {run.normaliser_hash} by {run.unit}" for run in (a, b))
        raise UsageError("the two runs were not scored alike", scored, "score both again with one normaliser")
    pairs = _pairs(a.utterances, b.utterances)
    lengths = [one.counts.reference_length for one, _ in pairs]
    words = sum(lengths)
    if words == 0:
        raise UsageError("the two runs share no utterance with words", None, "compare runs of the same corpus")
    errors = [other.counts.errors - one.counts.errors for one, other in pairs]
    blocks = [one.block for one, _ in pairs]
    limits = block_interval(errors, lengths, blocks, signed=True, resamples=resamples, seed=seed)
    return Difference(
        rate_a=sum(one.counts.errors for one, _ in pairs) / words,
        rate_b=sum(other.counts.errors for _, other in pairs) / words,
        difference=sum(errors) / words,
        interval=limits,
        verdict=_verdict(limits),
        utterances=len(pairs),
        only_a=len(a.utterances) - len(pairs),
        only_b=len(b.utterances) - len(pairs),
    )


def non_inferiority(difference: Difference, margin_points: float) -> NonInferiority:
    """Say whether run B is worse than run A by less than `margin_points` (0.5 is half a percentage point, absolute).

    One-sided at 97.5 %: "not worse" when the upper limit of the difference lies below the margin, "worse" when the
    lower limit lies above it, "undecided" between them or below ten units. Raises UsageError for a margin that
    is not above 0.
    """
    if not margin_points > 0:
        raise UsageError("the margin must be above 0 points", margin_points)
    if difference.verdict == "not enough":
        return "undecided"
    margin = margin_points / 100
    if difference.interval.high < margin:
        return "not worse"
    return "worse" if difference.interval.low > margin else "undecided"


def _pairs(a: Sequence[UtteranceCounts], b: Sequence[UtteranceCounts]) -> list[tuple[UtteranceCounts, UtteranceCounts]]:
    others = {utterance.utterance_id: utterance for utterance in b}
    pairs = [(one, others[one.utterance_id]) for one in a if one.utterance_id in others]
    for one, other in pairs:
        if (one.block, one.counts.reference_length) != (other.block, other.counts.reference_length):
            raise UsageError(
                "the two runs differ in the reference or speaker of an utterance",
                one.utterance_id,
                "compare runs of the same corpus",
            )
    return pairs


def _verdict(limits: Interval) -> Verdict:
    if limits.units < MIN_SOUND:
        return "not enough"
    if limits.low > 0:
        return "A better"
    return "B better" if limits.high < 0 else "no difference found"
