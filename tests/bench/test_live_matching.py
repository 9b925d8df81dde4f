"""Of the alignments with the fewest errors, the words that stand in a text are those of one with the most matches."""

from __future__ import annotations

import random

import pytest
from rapidfuzz.distance import Levenshtein

from auricle.bench.live import latencies
from auricle.bench.live.matching import held
from tests.bench.live_events import scored, stream

WEIGHT = 1 << 20


@pytest.mark.parametrize(
    ("reference", "heard", "places"),
    [
        ("a b c", "a b c", (0, 1, 2)),
        ("a b", "b c", (1,)),
        ("a b c", "b c d", (1, 2)),
        ("a a", "a", (0,)),
        ("a b", "", ()),
        ("", "a b", ()),
        ("a b", "c d", ()),
    ],
)
def test_the_words_that_stand_in_a_text(reference: str, heard: str, places: tuple[int, ...]) -> None:
    assert held(tuple(reference.split()), tuple(heard.split())) == places


def test_there_are_as_many_as_in_any_of_the_best_alignments() -> None:
    """A substitution that weighs a little more than another error counts the fewest among the best."""
    rng = random.Random(1)
    for _ in range(500):
        reference, heard = (tuple(rng.choices("abc", k=rng.randrange(9))) for _ in range(2))
        weighted = Levenshtein.distance(reference, heard, weights=(WEIGHT, WEIGHT, WEIGHT + 1))
        errors, substitutions = divmod(weighted, WEIGHT)
        deletions = (errors - substitutions + len(reference) - len(heard)) // 2
        assert len(held(reference, heard)) == len(reference) - substitutions - deletions


def test_a_word_that_is_shown_is_emitted_also_where_substitutions_are_as_few_errors() -> None:
    told = latencies.emission(scored(stream([(1.7, 1.5, False, "two three"), (2.3, 2.0, True, "two three")])))
    assert told is not None
    assert (told["coverage"], told["max_ms"]) == (0.5, pytest.approx(200.0))
