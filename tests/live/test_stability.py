"""What was shown as stable never changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auricle.live.endpoint import Endpointer, EndpointRules
from auricle.live.stability import StablePrefix

partials = st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=12)


@given(partials)
def test_stable_words_only_grow_and_are_what_was_returned(history: list[list[str]]) -> None:
    prefix = StablePrefix()
    shown: list[str] = []
    for partial in history:
        shown += prefix.update(partial)
        assert prefix.words == shown


@given(partials)
def test_a_stable_word_was_agreed_on_by_three_partials(history: list[list[str]]) -> None:
    prefix = StablePrefix()
    for index, partial in enumerate(history):
        before = len(prefix.words)
        new = prefix.update(partial)
        for place, word in enumerate(new, start=before):
            assert index >= 2
            assert all(len(recent) > place and recent[place] == word for recent in history[index - 2 : index + 1])


def test_words_that_the_engine_calls_stable_are_so_at_once() -> None:
    assert StablePrefix().update(["a", "b"], known_stable=1) == ["a"]


def test_a_contradiction_is_noticed_and_changes_nothing() -> None:
    prefix = StablePrefix()
    for _ in range(3):
        prefix.update(["a", "b"])
    for _ in range(3):
        assert prefix.update(["a", "c", "d"]) == []
    assert prefix.words == ["a", "b"]
    assert prefix.contradicted


def test_a_shorter_partial_is_no_contradiction() -> None:
    prefix = StablePrefix()
    for _ in range(3):
        prefix.update(["a", "b"])
    assert prefix.update(["a"]) == []
    assert not prefix.contradicted


def test_an_utterance_ends_after_silence_with_words_and_later_without() -> None:
    endpointer = Endpointer(EndpointRules(silence_s=1.0, initial_s=2.0, longest_s=None))
    assert not endpointer.update("", 1.9)
    assert not endpointer.update("word", 2.0)
    assert not endpointer.update("word", 2.9)
    assert endpointer.update("word", 3.0)
    endpointer.restart(3.0)
    assert not endpointer.update("", 4.9)
    assert endpointer.update("", 5.0)


def test_an_utterance_ends_at_its_longest_while_words_still_come() -> None:
    endpointer = Endpointer(EndpointRules(silence_s=1.0, initial_s=1.0, longest_s=5.0))
    ends = [endpointer.update(str(tenth), tenth / 10) for tenth in range(1, 51)]
    assert ends.index(True) == 49


def test_rules_can_be_turned_off() -> None:
    endpointer = Endpointer(EndpointRules(None, None, None))
    assert not endpointer.update("", 1e6)
    assert not endpointer.update("word", 2e6)
    assert not endpointer.update("word", 3e6)
