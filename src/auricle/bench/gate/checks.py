"""The checks of the precision gate, each a pure function of what a reference and a candidate heard.

Whether errors grew is tested on the difference of the word error rates, paired over samples, as `auricle.score` does:
non-inferiority, one-sided at 97.5 %, by a margin in percentage points. Where the reference itself makes more than half
of the words wrong, the corpus says nothing of this model: every word that differs from the reference's counts as an
error then. Everything else refuses garbage, whatever the error rate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.bench.gate.hearing import WAYS, Heard, Way, not_finite
from auricle.score.align import align
from auricle.score.compare import compare, non_inferiority
from auricle.score.normalise import get
from auricle.score.wer import Scored, score

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from auricle.bench.gate.hearing import Sample
    from auricle.models.verdicts import Outcome
    from auricle.score.compare import NonInferiority
    from auricle.score.wer import ErrorRate

    Texts = Mapping[str, str]
    ByWay = Mapping[Way, Texts]

NORMALISER = "basic"

USELESS_RATE = 0.5
"""With a higher error rate of the reference, the corpus is not one that the model knows."""

DIVERGED = 0.5
"""Encoder frames that differ from the reference's by this share of their size, or texts by this share of words."""

EMPTY_WORDS = 3
"""Where the reference heard so many words, hearing none is no slip."""

RUNAWAY_TIMES, RUNAWAY_WORDS = 2, 8
"""A text runs away when it has so many times the words of the reference's, and so many more."""

MOST_WORDS_PER_S = 12
"""Nobody says more."""

_SHOWN = 3
_OUTCOMES: dict[NonInferiority, Outcome] = {
    "not worse": "passed",
    "worse": "failed",
    "undecided": "not enough evidence",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what came of it, in a sentence, and the figures behind it."""

    name: str
    outcome: Outcome
    told: str
    figures: Mapping[str, Any]


def judge(reference: Heard, candidate: Heard, samples: Sequence[Sample], margin_points: float) -> list[Check]:
    """Return all checks of a candidate against a reference; raises UsageError for a margin that is not above 0."""
    failed = [
        Check("recognises", "failed", f"the {who} could not recognise the samples: {heard.failure}", {})
        for who, heard in (("candidate", candidate), ("reference", reference))
        if heard.failure is not None
    ]
    if failed:
        return failed
    ways = [way for way in WAYS if way in reference.texts and way in candidate.texts]
    expected, found = _normalised(reference, ways), _normalised(candidate, ways)
    checks = [
        finite("reference", reference),
        finite("candidate", candidate),
        sound(expected["together"], samples),
        *garbage(expected, found),
        *divergence(reference, candidate),
        *(agreement(way, expected[way], found[way]) for way in ways),
    ]
    if overall(checks)[0] == "failed":
        return checks
    pairs: tuple[tuple[Way, Way], ...] = (("alone", "together"), ("live alone", "live together"))
    for alone, together in pairs:
        if alone in ways:
            checks.append(errors(together, samples, expected[together], found[together], margin_points))
            before, after = (_changed(texts[alone], texts[together]) for texts in (expected, found))
            checks.append(shapes(alone, before, after, margin_points))
    return checks


def overall(checks: Iterable[Check]) -> tuple[Outcome, tuple[str, ...]]:
    """Return the verdict and why: what failed, else what was undecided, else what was found."""
    outcomes: tuple[Outcome, ...] = ("failed", "not enough evidence", "passed")
    found = {outcome: tuple(check.told for check in checks if check.outcome == outcome) for outcome in outcomes}
    outcome = next(outcome for outcome in outcomes if found[outcome])
    if outcome == "passed":
        return outcome, tuple(check.told for check in checks if check.name in {"errors", "agreement"})
    return outcome, found[outcome]


def finite(who: str, heard: Heard) -> Check:
    """Check that the encoder's frames are numbers, and confidences shares."""
    broken = {name: count for name, frames in heard.frames.items() if (count := not_finite(frames))}
    figures = {"not_finite": sum(broken.values()), "recordings": len(broken), "doubtful": len(heard.doubtful)}
    if broken:
        told = f"the {who}'s encoder gave {sum(broken.values())} numbers that are not finite, in {_named(broken)}"
        return Check("finite", "failed", told, figures)
    if heard.doubtful:
        return Check(
            "finite", "failed", f"the {who} gave confidences that are none, in {_named(heard.doubtful)}", figures
        )
    return Check("finite", "passed", f"all numbers of the {who} are finite", figures)


def sound(texts: Texts, samples: Sequence[Sample]) -> Check:
    """Check that the reference hears anything: not nothing, not one text for all, not more than can be said."""
    distinct = len(set(texts.values()))
    figures = {"texts": len(texts), "distinct": distinct, "empty": sum(not text for text in texts.values())}
    fast = [one.id for one in samples if len(texts[one.id].split()) > MOST_WORDS_PER_S * one.audio.duration_s + 1]
    if figures["empty"] == len(texts):
        return Check("reference", "failed", "the reference itself hears nothing in any sample", figures)
    if distinct == 1 and len({one.text for one in samples}) > 1:
        return Check("reference", "failed", "the reference itself hears one text in all samples", figures)
    if len(fast) * 2 > len(samples):
        return Check("reference", "failed", "the reference itself hears more words than can be said", figures)
    return Check("reference", "passed", "the reference hears something", figures)


def garbage(expected: ByWay, found: ByWay) -> list[Check]:
    """Check that no text is missing where the reference has one, and none runs away."""
    empty: list[str] = []
    runaway: list[str] = []
    heard = [(way, name, len(text.split())) for way in expected for name, text in expected[way].items()]
    for way, name, count in heard:
        words = len(found[way][name].split())
        if count >= EMPTY_WORDS and not words:
            empty.append(f"{name} ({way})")
        elif words > max(RUNAWAY_TIMES * count, count + RUNAWAY_WORDS):
            runaway.append(f"{name} ({way})")
    checks = []
    for what, which, are in (("empty", empty, "are empty"), ("runaway", runaway, "run away")):
        told = f"{len(which)} of {len(heard)} texts {are} where the reference has one"
        outcome: Outcome = "failed" if which else "passed"
        checks.append(Check(what, outcome, f"{told}: {_named(which)}" if which else told, {what: which}))
    return checks


def divergence(reference: Heard, candidate: Heard) -> list[Check]:
    """Check that the encoder's frames are those of the reference but for rounding."""
    distances = {name: _distance(frames, candidate.frames[name]) for name, frames in reference.frames.items()
                 if name in candidate.frames and frames.size}  # fmt: skip
    if not distances:
        return []
    worst = max(distances, key=lambda name: distances[name])
    figures = {"median": float(np.median(list(distances.values()))), "largest": distances[worst], "in": worst}
    told = f"encoder frames differ from the reference's by {100 * distances[worst]:.3g} % of their size at most"
    return [Check("divergence", "failed" if distances[worst] >= DIVERGED else "passed", f"{told} ({worst})", figures)]


def agreement(way: Way, expected: Texts, found: Texts) -> Check:
    """Count the words and characters in which the texts agree; half of the words at least must."""
    words = aligned(expected, found, by_word=True)
    characters = aligned(expected, found, by_word=False)
    same = sum(expected[name] == found[name] for name in expected)
    figures = {"way": way, "texts": len(expected), "equal_texts": same, "words": words, "characters": characters}
    shares = f"{100 * words:.2f} % of words, {100 * characters:.2f} % of characters"
    told = f"{way}: {same} of {len(expected)} texts equal, {shares}"
    if words < 1 - DIVERGED:
        return Check("agreement", "failed", f"the texts diverge, {told}", figures)
    return Check("agreement", "passed", told, figures)


def aligned(expected: Texts, found: Texts, *, by_word: bool) -> float:
    """Return one less the errors of all texts against the expected ones over their length, 1 for no length."""
    counts = [
        align(*((text.split() if by_word else text) for text in (expected[name], found[name]))).counts
        for name in expected
    ]
    length = sum(one.reference_length for one in counts)
    wrong = sum(one.errors for one in counts)
    return 1 - wrong / length if length else float(not wrong)


def errors(way: Way, samples: Sequence[Sample], expected: Texts, found: Texts, margin_points: float) -> Check:
    """Test whether the candidate makes more errors than the reference by `margin_points` or more."""
    normalised = get(NORMALISER)
    texts = {sample.id: normalised(sample.text) for sample in samples}
    reference_wer = _rate(samples, texts, expected).rate
    is_known = reference_wer <= USELESS_RATE
    truth = texts if is_known else expected
    difference = compare(_rate(samples, truth, expected), _rate(samples, truth, found))
    verdict = non_inferiority(difference, margin_points)
    low, high = (100 * limit for limit in (difference.interval.low, difference.interval.high))
    told = (
        f"{way}: WER {100 * difference.rate_b:.2f} % against {100 * difference.rate_a:.2f} % of the reference, "
        f"difference {100 * difference.difference:+.2f} points (95 %: {low:+.2f} to {high:+.2f}), "
        f"{verdict} by {margin_points:g} points on {len(samples)} samples"
    )
    if not is_known:
        told += f"; the reference makes {100 * reference_wer:.0f} % errors here, so its own texts are the measure"
    figures = asdict(difference) | {"way": way, "reference_wer": reference_wer, "margin_points": margin_points}
    return Check("errors", _OUTCOMES[verdict], told, figures)


def shapes(way: Way, before: tuple[int, float], after: tuple[int, float], margin_points: float) -> Check:
    """Check that a batch changes no more in the candidate than in the reference, given as `_changed` counts it."""
    texts, words = after
    told = (
        f"{way} and together: {texts} texts change, {100 * words:.2f} % of words; {before[0]} texts, "
        f"{100 * before[1]:.2f} % of the reference"
    )
    outcome: Outcome = "failed" if words - before[1] > margin_points / 100 else "passed"
    figures = {"way": way, "texts": texts, "words": words, "reference_texts": before[0], "reference_words": before[1]}
    return Check("block shapes", outcome, told, figures)


def _changed(alone: Texts, together: Texts) -> tuple[int, float]:
    """Count the texts that differ, and the share of words."""
    return sum(alone[name] != together[name] for name in alone), 1 - aligned(alone, together, by_word=True)


def _normalised(heard: Heard, ways: Sequence[Way]) -> ByWay:
    normalised = get(NORMALISER)
    return {way: {name: normalised(text) for name, text in heard.texts[way].items()} for way in ways}


def _rate(samples: Sequence[Sample], texts: Texts, found: Texts) -> ErrorRate:
    results = [Scored(one.id, texts[one.id], found[one.id], one.speaker) for one in samples]
    return score(results, get("none"))


def _distance(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Return the size of the difference over that of the expected frames, 1 where there is nothing to compare."""
    size = float(np.linalg.norm(expected))
    if expected.shape != found.shape or not size:
        return 1.0
    return float(np.linalg.norm(found - expected)) / size


def _named(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"{', '.join(known[:_SHOWN])}{more}"
