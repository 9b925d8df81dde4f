"""Two runs are compared utterance by utterance."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from auricle.errors import UsageError
from auricle.score.compare import compare, non_inferiority
from auricle.score.normalise import get
from auricle.score.wer import ErrorRate, Scored, score

SENTENCE = "one two three four five six seven eight nine ten"


def run(wrong: Sequence[int | None], speakers: int = 30, name: str = "basic") -> ErrorRate:
    """Score utterances of ten words of which the first `wrong[i]` are misheard, None for a failed one."""
    words = SENTENCE.split()
    heard = [None if count is None else " ".join(["x"] * count + words[count:]) for count in wrong]
    return score(
        [Scored(f"u{i}", SENTENCE, hypothesis, f"s{i % speakers}") for i, hypothesis in enumerate(heard)], get(name)
    )


def errors(seed: int, mean: float, utterances: int = 300) -> list[int]:
    """Return random error counts."""
    return [min(10, int(count)) for count in np.random.default_rng(seed).poisson(mean, utterances)]


def test_the_run_with_fewer_errors_is_better() -> None:
    worse, better = run(errors(1, 1.5)), run(errors(2, 0.5))
    assert compare(worse, better).verdict == "B better"
    assert compare(better, worse).verdict == "A better"


def test_equal_systems_are_not_told_apart() -> None:
    difference = compare(run(errors(3, 1.0)), run(errors(4, 1.0)))
    assert difference.verdict == "no difference found"
    assert difference.interval.low < 0 < difference.interval.high


def test_the_difference_is_b_minus_a_over_common_utterances() -> None:
    a, b = run([1] * 40), run([2] * 30)
    difference = compare(a, b)
    assert (difference.rate_a, difference.rate_b) == pytest.approx((0.1, 0.2))
    assert difference.difference == pytest.approx(0.1)
    assert (difference.utterances, difference.only_a, difference.only_b) == (30, 10, 0)


def test_a_failed_utterance_counts_as_wrong() -> None:
    difference = compare(run([0] * 60), run([None if i % 2 else 0 for i in range(60)]))
    assert difference.rate_b == pytest.approx(0.5)
    assert difference.verdict == "A better"


def test_swapping_the_runs_mirrors_the_interval() -> None:
    a, b = run(errors(5, 1.0)), run(errors(6, 1.2))
    one, other = compare(a, b).interval, compare(b, a).interval
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), rel=0.02)


def test_nine_utterances_are_not_enough() -> None:
    assert compare(run([0] * 10), run([9, 10] * 5)).verdict == "A better"
    difference = compare(run([0] * 9), run([10] * 9))
    assert difference.verdict == "not enough"
    assert non_inferiority(difference, 50) == "undecided"


def test_few_differing_utterances_are_no_difference() -> None:
    """Five heads in a row: a sign test gives 6 %."""
    difference = compare(run([0] * 300), run([10] * 5 + [0] * 295))
    assert difference.verdict == "no difference found"
    assert "only 5 blocks differ" in difference.interval.caveat


def test_with_few_speakers_the_difference_says_so() -> None:
    difference = compare(run(errors(7, 1.0), speakers=4), run(errors(8, 1.0), speakers=4))
    assert difference.interval.caveat.startswith("too few speakers (4 < 20): utterances resampled")


def test_not_worse_needs_an_upper_limit_below_the_margin() -> None:
    same = compare(run(errors(9, 1.0)), run(errors(10, 1.0)))
    assert same.interval.high < 0.05
    assert non_inferiority(same, 5) == "not worse"
    assert non_inferiority(same, 0.1) == "undecided"
    clearly = compare(run(errors(9, 0.5)), run(errors(10, 2.0)))
    assert non_inferiority(clearly, 5) == "worse"


def test_identical_runs_of_few_words_are_not_proof() -> None:
    """The rule of three again: no difference in 100 words bounds it at 3.7 points, in 3,000 at 0.12."""
    few, many = run([1] * 10), run([1] * 300)
    assert non_inferiority(compare(few, few), 0.5) == "undecided"
    assert non_inferiority(compare(many, many), 0.5) == "not worse"


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_a_margin_must_be_above_zero(margin: float) -> None:
    same = run(errors(1, 1.0))
    with pytest.raises(UsageError, match="margin"):
        non_inferiority(compare(same, same), margin)


def test_runs_normalised_otherwise_are_refused() -> None:
    with pytest.raises(UsageError, match=r"not scored alike: basic \w+ by word and english \w+ by word"):
        compare(run([1] * 10), run([1] * 10, name="english"))


def test_a_changed_reference_is_refused_by_the_utterance() -> None:
    a = run([1] * 30)
    changed = replace(a.utterances[3], block="another speaker")
    b = replace(a, utterances=(*a.utterances[:3], changed, *a.utterances[4:]))
    with pytest.raises(UsageError, match="u3"):
        compare(a, b)


def test_runs_of_different_corpora_are_refused() -> None:
    a = run([1] * 10)
    b = replace(a, utterances=tuple(replace(u, utterance_id=f"other {u.utterance_id}") for u in a.utterances))
    with pytest.raises(UsageError, match="share no utterance"):
        compare(a, b)
