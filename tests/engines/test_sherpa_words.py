"""Pieces become words with times and confidence, whatever the tokenizer."""

from __future__ import annotations

import math

import pytest

from auricle.engines.sherpa.words import LONGEST_PIECE_S, Pieces, join_words
from auricle.errors import EngineError


def texts(*pieces: str) -> list[str]:
    return [word.text for word in join_words(Pieces(pieces, [0.1 * index for index in range(len(pieces))]))]


def test_pieces_join_at_word_marks_and_spaces() -> None:
    assert texts("▁he", "llo", " wor", "ld") == ["hello", "world"]


def test_a_mark_of_its_own_begins_a_word() -> None:
    assert texts("a", "▁", "b", "c") == ["a", "bc"]


def test_a_piece_may_hold_several_words() -> None:
    assert texts("▁New▁York", "'s") == ["New", "York's"]


def test_scripts_without_spaces_give_one_word_a_character() -> None:
    assert texts("今", "天", "▁ok", "好") == ["今", "天", "ok", "好"]


def test_combining_marks_stay_with_their_word() -> None:
    assert texts("▁नम", "स्", "ते") == ["नमस्ते"]


def test_bytes_make_one_character() -> None:
    assert texts("▁caf", "<0xC3>", "<0xA9>") == ["café"]


def test_broken_bytes_are_dropped() -> None:
    assert texts("a", "<0xC3>", "b") == ["ab"]


def test_a_word_ends_where_the_next_piece_begins() -> None:
    first, last = join_words(Pieces(["▁a", "▁b"], [1.0, 1.2]))
    assert (first.start, first.end) == (1.0, 1.2)
    assert [last.start, last.end] == pytest.approx([1.2, 1.2 + LONGEST_PIECE_S])


def test_a_pause_is_not_part_of_a_word() -> None:
    first, _ = join_words(Pieces(["▁a", "▁b"], [1.0, 9.0]))
    assert first.end == pytest.approx(1.0 + LONGEST_PIECE_S)


def test_durations_decide_where_they_are_given() -> None:
    (word,) = join_words(Pieces(["▁a", "b"], [1.0, 1.2], durations_s=[0.2, 0.4]))
    assert [word.start, word.end] == pytest.approx([1.0, 1.6])


def test_confidence_is_the_geometric_mean_of_the_pieces() -> None:
    first, second = join_words(Pieces(["▁a", "b", "▁c"], [0, 1, 2], log_probs=[math.log(0.9), math.log(0.4), 0.0]))
    assert first.confidence == pytest.approx(0.6)
    assert second.confidence == 1.0


def test_no_pieces_are_no_words() -> None:
    assert join_words(Pieces([], [])) == []


def test_a_piece_without_a_time_is_an_error() -> None:
    with pytest.raises(EngineError, match="2 pieces, 1 times"):
        join_words(Pieces(["a", "b"], [0.0]))
