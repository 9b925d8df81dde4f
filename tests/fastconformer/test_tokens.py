"""Tokens to words, sentences and times."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.fastconformer.tokens import Token, Tokenizer, transcript
from tests.fastconformer.checkpoints import TOKENIZER, VOCABULARY

PIECES = {"▁n": 1, "▁t": 2, "ti": 10, "▁": 23, "e": 24, "?": 38, ".": 39}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(TOKENIZER.read_bytes(), VOCABULARY)


def said(*pieces: str, frames: int = 1) -> list[Token]:
    return [Token(PIECES[piece], place * 2, frames, 0.9 - place / 10) for place, piece in enumerate(pieces)]


def test_a_word_begins_at_its_first_token_and_ends_after_its_last(tokenizer: Tokenizer) -> None:
    first, second = tokenizer.words(said("▁n", "ti", "▁t", "e"), frame_s=0.08, duration_s=9.0)
    assert (first.text, second.text) == ("nti", "te")
    assert (first.start, first.end) == pytest.approx((0.0, 0.24))
    assert (second.start, second.end) == pytest.approx((0.32, 0.56))


def test_a_word_is_as_sure_as_its_least_sure_token(tokenizer: Tokenizer) -> None:
    words = tokenizer.words(said("▁n", "ti", "▁t", "e"), 0.08, 9.0)
    assert [word.confidence for word in words] == pytest.approx([0.8, 0.6])


def test_a_word_ends_no_later_than_the_audio(tokenizer: Tokenizer) -> None:
    assert tokenizer.words(said("▁n", frames=50), 0.08, 1.0)[0].end == 1.0


def test_punctuation_ends_a_segment(tokenizer: Tokenizer) -> None:
    made = transcript(tokenizer, said("▁n", "e", "?", "▁t", "e", ".", "▁t"), 0.08, 9.0)
    assert [segment.text for segment in made.segments] == ["ne?", "te.", "t"]
    assert made.text == "ne? te. t"
    assert made.segments[1].start == pytest.approx(0.48)


def test_nothing_said_is_an_empty_transcript(tokenizer: Tokenizer) -> None:
    made = transcript(tokenizer, [], 0.08, 1.5)
    assert (made.text, made.segments, made.duration_s) == ("", (), 1.5)


@given(st.lists(st.integers(0, VOCABULARY - 1), max_size=30))
def test_words_spell_the_text(tokenizer: Tokenizer, labels: list[int]) -> None:
    tokens = [Token(label, place, 1, 0.5) for place, label in enumerate(labels)]
    words = tokenizer.words(tokens, 0.08, 9.0)
    assert [word.text for word in words] == tokenizer.text(tokens).split()
    assert all(0 <= word.start <= word.end <= 9.0 for word in words)
    assert all(before.end <= after.start for before, after in pairwise(words))
