"""Trees of key phrases: what each token gains and gives back, one tree or many in the same tensors."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
import torch

from auricle.errors import EngineError, UnsupportedError
from auricle.fastconformer.boosting import Boost, Library, advance, bonus
from auricle.fastconformer.phrases import MOST_CHARACTERS, MOST_PHRASES, grow_tree, spell
from auricle.fastconformer.tokens import Tokenizer
from tests.fastconformer.checkpoints import TOKENIZER, VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.phrases import Phrases

LABELS = 6
SECOND, THIRD = 2 + math.log(2), 2 + math.log(3)


def tokenizer() -> Tokenizer:
    return Tokenizer(TOKENIZER.read_bytes(), VOCABULARY)


def gains(phrases: Phrases, said: Sequence[int]) -> list[float]:
    boost = Boost.alike(phrases, 1)
    found = []
    for label in said:
        found.append(float(bonus(boost.trees, boost.states, LABELS, boost.width)[0, label]))
        boost.move(torch.tensor([0]), torch.tensor([label]))
    return found


class Plain:
    """The same gains worked out from the words of the rule, on sequences, without a tree."""

    def __init__(self, phrases: Phrases) -> None:
        self.ends = set(phrases)
        self.prefixes = {phrase[:stop] for phrase in phrases for stop in range(len(phrase) + 1)}

    def kept(self, state: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The ends of what was said that may go on, longest first; a completed phrase does not go on within itself."""
        ends = [state[start:] for start in range(len(state) + 1) if state[start:] in self.prefixes]
        if state in self.ends:
            own = [end for end in ends[1:] if end != state[: len(end)]]
            first = ends.index(own[0]) if own else len(ends) - 1
            return [state, *ends[first:]]
        return ends

    def longest(self, state: tuple[int, ...], label: int) -> tuple[int, ...]:
        goes_on = ((*end, label) for end in self.kept(state))
        return next((end for end in goes_on if end in self.prefixes), ())

    def gain(self, depth: int) -> float:
        return 2 + math.log(depth) if depth > 1 else 1.0

    def owed(self, state: tuple[int, ...]) -> float:
        if not state or state in self.ends:
            return 0.0
        ended = next((state[start:] for start in range(1, len(state)) if state[start:] in self.ends), ())
        earned = sum(self.gain(depth) for depth in range(1, len(ended) + 1))
        return max(self.owed(state[:-1]) + self.gain(len(state)) - earned, 0.0)

    def gains(self, said: Sequence[int]) -> list[float]:
        state: tuple[int, ...] = ()
        found = []
        for label in said:
            after = self.longest(state, label)
            goes_on = self.owed(after[:-1]) + self.gain(len(after)) if after else 0.0
            found.append(goes_on - self.owed(state))
            state = after
        return found


def test_the_tokens_of_a_phrase_gain_and_the_next_does_not() -> None:
    assert gains(((1, 2, 3),), [1, 2, 3, 4, 4]) == pytest.approx([1, SECOND, THIRD, 0, 0])


def test_a_phrase_that_is_not_completed_gives_back_all_that_it_gained() -> None:
    assert gains(((1, 2, 3),), [1, 2, 4]) == pytest.approx([1, SECOND, -1 - SECOND])
    assert sum(gains(((1, 2, 3),), [5, 1, 1, 2, 1, 4])) == pytest.approx(0)


def test_a_phrase_within_one_that_fails_keeps_its_own() -> None:
    assert sum(gains(((1, 2, 3), (2,)), [1, 2, 4])) == pytest.approx(1)
    assert sum(gains(((1, 2), (1, 2, 5, 3)), [1, 2, 5, 4])) == pytest.approx(1 + SECOND)


def test_a_phrase_said_again_and_again_gains_each_token_once() -> None:
    assert gains(((1, 1),), [1, 1, 1, 1, 1]) == pytest.approx([1, SECOND, 1, SECOND, 1])
    assert sum(gains(((1, 2, 1),), [1, 2, 1, 2, 1, 4])) == pytest.approx(1 + SECOND + THIRD)


def test_a_phrase_that_begins_within_another_goes_on_from_there() -> None:
    assert gains(((1, 2), (2, 5)), [1, 2, 5, 4]) == pytest.approx([1, SECOND, SECOND + 1, 0])
    assert sum(gains(((1, 2), (2, 5)), [1, 2, 4])) == pytest.approx(1 + SECOND)


@pytest.mark.parametrize("seed", range(40))
def test_the_gains_are_those_of_the_rule_whatever_the_phrases(seed: int) -> None:
    rng = random.Random(seed)
    phrases = tuple(tuple(rng.choices(range(3), k=rng.randint(1, 5))) for _ in range(rng.randint(1, 6)))
    said = rng.choices(range(4), k=60)
    assert gains(phrases, said) == pytest.approx(Plain(phrases).gains(said), abs=1e-5)


def test_every_stream_stands_in_its_own_tree_and_one_without_gains_nothing() -> None:
    library = Library(100, 100)
    roots = [library.add(phrases) for phrases in (((1, 2),), (), ((2, 1), (3, 1)))]
    states = torch.tensor(roots)
    expected = torch.zeros(3, LABELS)
    expected[0, 1] = expected[2, 2] = expected[2, 3] = 1
    assert torch.equal(bonus(library.trees, states, LABELS, library.width), expected)
    states = advance(library.trees, states, torch.tensor([1, 1, 3]), library.width)
    after = bonus(library.trees, states, LABELS, library.width)
    assert after[0].tolist() == pytest.approx([-1, 0, SECOND, -1, -1, -1])
    assert after[1].tolist() == [0] * LABELS
    assert after[2].tolist() == pytest.approx([-1, SECOND, 0, 0, -1, -1])
    assert states[1] == 0


def test_any_width_that_is_wide_enough_and_any_shape_of_states_gives_the_same() -> None:
    library = Library(100, 100)
    states = torch.tensor([[library.add(((1, 2), (3,), (4, 1))), 0], [library.add(((5,),)), 0]])
    narrow, wide = (bonus(library.trees, states, LABELS, width) for width in (library.width, 64))
    assert narrow.shape == (2, 2, LABELS)
    assert torch.equal(narrow, wide)
    labels = torch.tensor([[4, 1], [5, 5]])
    assert torch.equal(*(advance(library.trees, states, labels, width) for width in (library.width, 64)))


def test_the_same_phrases_are_kept_once_and_their_room_is_free_after_the_last() -> None:
    library = Library(9, 20)
    first, second = library.add(((1, 2, 3),)), library.add(((4, 5),))
    assert library.add(((1, 2, 3),)) == first
    library.drop(first)
    assert bonus(library.trees, torch.tensor([first]), LABELS, library.width)[0, 1] == 1
    with pytest.raises(EngineError, match="no room"):
        library.add(((2, 2, 2),))
    library.drop(first)
    third = library.add(((2, 2),))
    assert {first, second} == {third, second}
    assert bonus(library.trees, torch.tensor([third]), LABELS, library.width)[0].tolist() == [0, 0, 1, 0, 0, 0]


def test_phrases_are_spelt_as_given_in_lower_case_and_as_a_sentence_begins() -> None:
    one = tokenizer()
    word = one._processor.id_to_piece(10).strip("\N{LOWER ONE EIGHTH BLOCK}")
    assert spell([f"  {word}\t{word} "], one) == (one.spell(f"{word} {word}"),)
    assert one.spell("Ωmega") == ()


@pytest.mark.parametrize(
    ("phrases", "named"),
    [
        ([""], "malformed"),
        ([" \n"], "malformed"),
        (["a" * (MOST_CHARACTERS + 1)], "malformed"),
        (["da", "Ωmega"], "Ωmega"),
        (["da"] * (MOST_PHRASES + 1), str(MOST_PHRASES)),
    ],
)
def test_phrases_that_cannot_be_used_are_refused_by_name(phrases: list[str], named: str) -> None:
    with pytest.raises(UnsupportedError, match=named):
        spell(phrases, tokenizer())


def test_trees_are_bounded() -> None:
    long = tuple((label, *range(40), label) for label in range(120))
    with pytest.raises(UnsupportedError, match="too long together"):
        grow_tree(long)
    with pytest.raises(UnsupportedError, match="one place"):
        grow_tree(tuple((label, 1) for label in range(600)))
    alike = (*((0, label) for label in range(1, 450)), (0,) * 100)
    with pytest.raises(UnsupportedError, match="one place"):
        grow_tree(alike)
    largest = grow_tree(tuple((label % 400, label // 400, label % 7) for label in range(1500)))
    assert largest.count.max() == 400
