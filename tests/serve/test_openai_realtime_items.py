"""Deltas only ever append, and together they are the transcript unless the engine took words back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import EngineError
from auricle.live.buffer import Mark
from auricle.live.scheduler import Failed, Final, Partial
from auricle.live.stability import StablePrefix
from auricle.serve.openai_events import Ids
from auricle.serve.openai_items import CLEAR, COMMIT, TRANSCRIPTION, Items
from auricle.serve.openai_settings import DELAYS, chunk_for
from auricle.transcript import Word
from tests.serve.openai_realtime_helpers import deltas, kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

texts = st.lists(st.lists(st.sampled_from(["one", "two", "three"]), max_size=6).map(" ".join), min_size=1, max_size=8)
COMMITTED = "input_audio_buffer.committed"


def utterance(items: Items, partials: Sequence[str], text: str, mark: Mark | None = None) -> list[dict[str, Any]]:
    """Tell an utterance of a second as a live session would, and return all that is sent."""
    stable, told = StablePrefix(), []
    for partial in partials:
        new = tuple(stable.update(partial.split()))
        told += items.tell(Partial(partial, (), len(stable.words), new, 0.5))
    return told + items.tell(Final(text, (), 0.0, 1.0, mark))


@given(texts)
def test_deltas_equal_the_transcript_or_are_what_was_shown_before_the_engine_changed_its_mind(
    partials: list[str],
) -> None:
    final = partials[-1]
    told = utterance(Items(Ids(), None), partials[:-1], final, Mark(COMMIT))
    *_, committed, completed = [event for event in told if event["type"] != f"{TRANSCRIPTION}.delta"]
    assert (committed["type"], completed["transcript"]) == (COMMITTED, final)
    assert deltas(told) == final or not final.startswith(deltas(told))


def test_speech_starts_at_the_time_of_the_first_word_less_the_padding() -> None:
    items = Items(Ids(), 300)
    word = Word("one", 1.25, 1.5)
    assert items.tell(Partial("one", (word,), 0, (), 2.0))[0]["audio_start_ms"] == 950


def test_without_word_times_speech_starts_where_the_last_partial_without_words_ended() -> None:
    items = Items(Ids(), 0)
    assert items.tell(Partial("", (), 0, (), 1.5)) == []
    assert items.tell(Partial("one", (), 0, (), 2.0))[0]["audio_start_ms"] == 1500


def test_speech_never_starts_before_the_end_of_the_utterance_before() -> None:
    items = Items(Ids(), 300)
    utterance(items, [], "one")
    assert items.tell(Partial("two", (Word("two", 1.1, 1.2),), 0, (), 1.3))[0]["audio_start_ms"] == 1000


def test_an_utterance_whose_words_were_taken_back_still_stops() -> None:
    told = utterance(Items(Ids(), 0), ["one"], "")
    assert kinds(told)[:2] == ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"]
    assert told[-1]["transcript"] == ""


def test_what_was_cleared_is_never_told_and_the_next_item_is_another() -> None:
    items = Items(Ids(), None)
    cleared = utterance(items, ["one", "one", "one"], "one two", Mark(CLEAR))
    assert kinds(cleared) == [f"{TRANSCRIPTION}.delta", "input_audio_buffer.cleared"]
    told = utterance(items, [], "three", Mark(COMMIT))
    assert told[0]["previous_item_id"] is None
    assert told[0]["item_id"] != cleared[0]["item_id"]
    assert deltas(told) == "three"


def test_a_commit_that_an_endpoint_came_before_is_empty_and_names_the_event() -> None:
    items = Items(Ids(), 300)
    told = items.tell(Final("", (), 1.0, 1.0, Mark(f"{COMMIT}:mine:too")))
    assert told[0]["error"]["code"] == "input_audio_buffer_commit_empty"
    assert told[0]["error"]["event_id"] == "mine:too"


def test_a_failure_names_the_item_that_was_begun() -> None:
    items = Items(Ids(), None)
    begun = items.tell(Partial("one", (), 1, ("one",), 0.5))
    failed = items.tell(Failed(EngineError("the device is gone")))
    assert failed[0]["item_id"] == begun[0]["item_id"]
    assert failed[0]["error"] == {
        "type": "server_error",
        "code": "engine_error",
        "message": "the device is gone",
        "param": None,
    }


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [((80,), (80,) * 5), ((560, 80), (80, 80, 80, 560, 560)), ((80, 160, 560, 1120), (80, 160, 560, 560, 1120))],
)
def test_delays_are_spread_over_the_chunk_sizes_there_are(sizes: tuple[int, ...], chosen: tuple[int, ...]) -> None:
    assert tuple(chunk_for(delay, sizes) for delay in DELAYS) == chosen
