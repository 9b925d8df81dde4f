"""Deltas only ever append, and together they are the transcript unless the engine took words back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import EngineError
from auricle.live.buffer import Mark
from auricle.live.events import Failed, Final, Partial, SpeechStarted, SpeechStopped
from auricle.live.stability import StablePrefix
from auricle.serve.openai_events import Ids
from auricle.serve.openai_items import CLEAR, COMMIT, TRANSCRIPTION, Items
from auricle.serve.openai_settings import DELAYS, chunk_for
from tests.serve.openai_realtime_helpers import deltas, kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

texts = st.lists(st.lists(st.sampled_from(["one", "two", "three"]), max_size=6).map(" ".join), min_size=1, max_size=8)
COMMITTED = "input_audio_buffer.committed"
STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"


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


def test_speech_starts_where_it_was_heard_less_the_padding() -> None:
    (started,) = Items(Ids(), 300).tell(SpeechStarted(1.25))
    assert (started["type"], started["audio_start_ms"]) == (STARTED, 950)


def test_speech_never_starts_before_the_end_of_the_utterance_before() -> None:
    items = Items(Ids(), 300)
    utterance(items, [], "one")
    assert items.tell(SpeechStarted(1.1))[0]["audio_start_ms"] == 1000


def test_an_utterance_of_speech_without_words_is_an_item() -> None:
    items = Items(Ids(), 0)
    told = [*items.tell(SpeechStarted(0.2)), *items.tell(SpeechStopped(0.7)), *utterance(items, [], "")]
    assert kinds(told) == [STARTED, STOPPED, COMMITTED, f"{TRANSCRIPTION}.completed"]
    assert len({event["item_id"] for event in told}) == 1
    assert told[-1]["transcript"] == ""


def test_an_utterance_without_words_and_speech_is_no_item() -> None:
    assert utterance(Items(Ids(), 0), [], "") == []


def test_speech_that_goes_on_where_an_utterance_is_too_long_stops_there_and_starts_again_with_words() -> None:
    items = Items(Ids(), 300)
    first = [*items.tell(SpeechStarted(0.2)), *utterance(items, ["one"], "one")]
    assert [event["audio_end_ms"] for event in first if event["type"] == STOPPED] == [1000]
    then = items.tell(Partial("two", (), 0, (), 1.5))
    assert [(event["type"], event["audio_start_ms"]) for event in then] == [(STARTED, 1000)]
    assert [event["audio_end_ms"] for event in items.tell(SpeechStopped(1.7))] == [1700]


def test_a_commit_during_speech_tells_no_stop_and_the_rest_is_the_next_item() -> None:
    items = Items(Ids(), 300)
    first = [*items.tell(SpeechStarted(0.2)), *utterance(items, [], "one", Mark(COMMIT))]
    assert STOPPED not in kinds(first)
    told = items.tell(SpeechStopped(1.7))
    assert kinds(told) == [STARTED, STOPPED]
    assert told[0]["item_id"] == told[1]["item_id"] != first[0]["item_id"]


def test_speech_that_stopped_before_a_commit_is_not_told_of_the_next_item() -> None:
    items = Items(Ids(), 300)
    items.tell(SpeechStarted(0.2))
    utterance(items, [], "one", Mark(COMMIT))
    assert items.tell(SpeechStopped(0.8)) == []
    assert items.tell(SpeechStarted(2.0))[0]["audio_start_ms"] == 1700


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
