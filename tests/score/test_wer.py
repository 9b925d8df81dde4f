"""Error rates of a corpus."""

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.errors import CorpusError, UsageError
from auricle.score.align import Counts
from auricle.score.normalise import get
from auricle.score.wer import Scored, score

BASIC = get("basic")
SENTENCES = st.lists(st.sampled_from(["the", "a", "cat", "mat"]), max_size=8).map(" ".join)


def results(*texts: tuple[str, str | None]) -> list[Scored]:
    """Return one utterance per reference and hypothesis, each by a speaker of its own."""
    return [Scored(f"u{i}", reference, hypothesis, f"s{i}") for i, (reference, hypothesis) in enumerate(texts)]


def test_errors_are_summed_and_then_divided() -> None:
    """By hand: 1 S + 1 D in ten words and 1 S + 1 I in two: 4 errors in 12 words, not the mean of 20 % and 100 %."""
    rate = score(
        results(
            ("one two three four five six seven eight nine ten", "one too three four five six seven eight nine"),
            ("go now", "no now now"),
        ),
        BASIC,
    )
    assert rate.counts == Counts(substitutions=2, deletions=1, insertions=1, reference_length=12)
    assert rate.rate == pytest.approx(4 / 12)
    assert rate.counts.hypothesis_length == 12


def test_a_failed_and_an_empty_hypothesis_are_deletions() -> None:
    rate = score(results(("a b c", None), ("d e", ""), ("f", "...")), BASIC)
    assert rate.counts == Counts(0, 6, 0, 6)
    assert (rate.empty, rate.failed) == (3, 1)


def test_what_is_heard_in_silence_is_inserted() -> None:
    rate = score(results(("", "thank you"), ("hello", "hello")), BASIC)
    assert rate.counts == Counts(0, 0, 2, 1)
    assert rate.rate == 2


def test_a_corpus_without_words_is_refused_by_name() -> None:
    with pytest.raises(CorpusError, match=r"no word in 2 references.*basic"):
        score(results(("", "a"), ("...", "b")), BASIC)


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(CorpusError, match="no word in 0 references"):
        score([], BASIC)


def test_an_utterance_scored_twice_is_refused_by_its_id() -> None:
    with pytest.raises(UsageError, match="twice: u0"):
        score(results(("a", "a")) * 2, BASIC)


def test_characters_count_with_the_spaces_between_words() -> None:
    rate = score(results(("ab cd", "abcd")), BASIC, "char")
    assert rate.counts == Counts(0, 1, 0, 5)


@given(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=8).filter(lambda texts: any(r for r, _ in texts)))
@settings(deadline=None)
def test_the_rates_are_those_of_jiwer(texts: list[tuple[str, str]]) -> None:
    spoken = [(reference, hypothesis) for reference, hypothesis in texts if reference]
    references, hypotheses = ([*column] for column in zip(*spoken, strict=True))
    ours = [score(results(*spoken), BASIC, unit, resamples=10).rate for unit in ("word", "char")]
    assert ours == pytest.approx([jiwer.wer(references, hypotheses), jiwer.cer(references, hypotheses)])


def test_the_rate_names_its_normaliser_and_its_sizes() -> None:
    rate = score(results(("It's", "it is"), ("b", "c")), get("english"))
    assert (rate.normaliser, rate.normaliser_hash) == ("english", get("english").hash)
    assert (rate.unit, rate.blocks, len(rate.utterances)) == ("word", 2, 2)
    assert rate.utterances[1].counts == Counts(1, 0, 0, 1)


def test_enough_speakers_are_resampled_without_a_caveat() -> None:
    rate = score([Scored(f"u{i}", "a b c d", "a b c" if i % 2 else "a b c d", f"s{i // 2}") for i in range(80)], BASIC)
    assert (rate.interval.resampled, rate.interval.units, rate.interval.caveat) == ("blocks", 40, "")
    assert rate.interval.method == "studentised bootstrap"


def test_with_few_speakers_utterances_are_resampled_and_it_is_said() -> None:
    texts = [Scored(f"u{i}", "a b c d", "a b c" if i % 3 else "a b c d", f"s{i % 7}") for i in range(70)]
    interval = score(texts, BASIC).interval
    assert (interval.resampled, interval.units) == ("utterances", 70)
    assert interval.caveat.startswith("too few speakers (7 < 20): utterances resampled")
    assert interval.low < 46 / 280 < interval.high


def test_speakers_of_very_unequal_size_are_pointed_out() -> None:
    texts = [Scored(f"u{i}", "a b " * (100 if i < 3 else 1), "a", f"s{i}") for i in range(30)]
    assert "30 unequal speakers weigh like 4 equal ones" in score(texts, BASIC).interval.caveat


def test_a_flawless_run_still_has_an_upper_limit() -> None:
    """The rule of three, at 97.5 %: 3.69 errors in 300 words."""
    interval = score(results(*[("a b c d e f g h i j", "a b c d e f g h i j")] * 30), BASIC).interval
    assert (interval.low, interval.method) == (0, "Poisson limits")
    assert interval.high == pytest.approx(3.6889 / 300)
    assert "only 0 blocks hold errors" in interval.caveat


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly() -> None:
    texts = results(*[("a b c d", "a b c d"[: 1 + i % 7]) for i in range(40)])
    first, again, other = (score(texts, BASIC, seed=seed).interval for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert other.high == pytest.approx(first.high, rel=0.02)
