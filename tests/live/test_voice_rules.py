"""Where voice ends utterances, and where it does not; the clock, the recogniser and the detector are simulated."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.live.admission import AdmissionRules
from auricle.live.buffer import Mark
from auricle.live.endpoint import EndpointRules, VoiceRules, endpoint_rules
from auricle.live.events import Event, Final, Partial, SpeechStarted, SpeechStopped
from auricle.transcript import Hypothesis
from tests.live.fakes import FakeRecognizer
from tests.live.worlds import CHUNK, NEVER, STEP_EACH_S, STEP_FIXED_S, WINDOW_COST_S, World

if TYPE_CHECKING:
    from auricle.engines.contract import Feed, StreamFailure
    from auricle.live.stream import LiveStream

VOICE = EndpointRules(None, None, None, VoiceRules(silence_s=0.3))
END = Mark(ends_stream=True)


class Lagging(FakeRecognizer):
    """Says each word two chunks late, and what is left at the end of the utterance."""

    def _advance(self, feed: Feed) -> Hypothesis | StreamFailure:
        heard = super()._advance(feed)
        assert isinstance(heard, Hypothesis)
        words = heard.text.split()
        return replace(heard, text=" ".join(words if feed.is_last else words[:-2]))


def speech(world: World, stream: LiveStream) -> list[Event]:
    return [event for event in world.heard[stream] if isinstance(event, SpeechStarted | SpeechStopped)]


def spans(world: World, stream: LiveStream) -> list[tuple[float, float]]:
    return [(round(final.start_s, 3), round(final.audio_s, 3)) for final in world.finals(stream)]


def test_silence_after_voice_ends_the_utterance_at_that_very_window() -> None:
    world = World()
    stream = world.open(rules=VOICE)
    world.play(stream, "..sss....")
    assert speech(world, stream) == [SpeechStarted(0.2), SpeechStopped(0.5)]
    assert spans(world, stream) == [(0.0, 0.8)]
    assert world.finals(stream)[0].text == "s1c0n100 s1c1n100 s1c2n100"


def test_silence_before_any_voice_ends_nothing() -> None:
    world = World()
    stream = world.open(rules=VOICE)
    world.play(stream, "." * 50)
    assert world.heard[stream] == []


def test_the_utterance_ends_within_a_chunk_and_the_rest_of_it_begins_the_next() -> None:
    world = World()
    stream = world.open(chunk_ms=400, rules=EndpointRules(None, None, None, VoiceRules(silence_s=0.25)))
    world.play(stream, "ss...sss")
    world.mark(stream, END)
    world.run()
    assert spans(world, stream) == [(0.0, 0.45), (0.45, 0.8)]
    assert [len(feed.samples) for block in world.blocks for feed in block] == [400, 50, 350]
    assert [feed.is_last for block in world.blocks for feed in block] == [False, True, True]


def test_several_utterances_in_one_chunk_end_one_by_one() -> None:
    world = World()
    stream = world.open(chunk_ms=400, rules=EndpointRules(None, None, None, VoiceRules(speech_s=0.05, silence_s=0.1)))
    world.say(stream, 100)
    world.say(stream, 100, 0.0)
    world.say(stream, 60)
    world.say(stream, 140, 0.0)
    world.mark(stream, END)
    world.run()
    assert spans(world, stream) == [(0.0, 0.2), (0.2, 0.36), (0.36, 0.4)]
    kinds = [type(event) for event in world.heard[stream]]
    assert kinds == [*[SpeechStarted, SpeechStopped, Final] * 2, Final]


@given(st.text("sm.", min_size=1, max_size=40), st.lists(st.integers(1, 900), min_size=1, max_size=20))
def test_decisions_do_not_depend_on_packets_and_chunks(script: str, packets: list[int]) -> None:
    def told(sizes: list[int], chunk_ms: int) -> tuple[list[Event], list[tuple[float, float]]]:
        world = World()
        stream = world.open(chunk_ms, VOICE)
        levels = {"s": 1.0, "m": 0.4, ".": 0.0}
        samples = np.repeat(np.array([levels[letter] for letter in script], np.float32), 70)
        start = 0
        for size in [*sizes, len(samples)]:
            if stream.buffer.append(samples[start : start + size], world.now_s):
                world.scheduler.notify(stream)
            start += size
            world.run()
        world.mark(stream, END)
        world.run()
        return speech(world, stream), spans(world, stream)

    assert told(packets, 100) == told([], 400)


def test_a_short_sound_and_a_murmur_are_no_speech() -> None:
    world = World()
    stream = world.open(rules=VOICE)
    for samples, value in ((90, 1.0), (300, 0.0), (50, 1.0), (20, 0.0), (60, 1.0), (490, 0.0), (500, 0.4), (490, 0.0)):
        world.say(stream, samples, value)
        world.run()
    assert speech(world, stream) == []


def test_a_murmur_neither_ends_speech_nor_takes_silence_back() -> None:
    world = World()
    stream = world.open(rules=VOICE)
    world.play(stream, "ssmmmmm.mm..")
    assert speech(world, stream) == [SpeechStarted(0.0), SpeechStopped(0.7)]


def test_a_pause_that_is_shorter_than_the_silence_ends_nothing() -> None:
    world = World()
    stream = world.open(rules=VOICE)
    world.play(stream, "ss..ss..ss...")
    assert speech(world, stream) == [SpeechStarted(0.0), SpeechStopped(1.0)]
    assert spans(world, stream) == [(0.0, 1.3)]


def test_silence_of_less_than_a_tenth_of_a_second_counts_as_that() -> None:
    world = World()
    stream = world.open(rules=EndpointRules(None, None, None, VoiceRules(silence_s=0.01)))
    world.play(stream, "ss...")
    assert spans(world, stream) == [(0.0, 0.3)]


def test_starts_and_stops_can_be_told_without_ending_anything() -> None:
    world = World()
    stream = world.open(rules=EndpointRules(None, None, None, VoiceRules(silence_s=0.3, ends_utterance=False)))
    world.play(stream, "ss....ss....")
    assert speech(world, stream) == [SpeechStarted(0.0), SpeechStopped(0.2), SpeechStarted(0.6), SpeechStopped(0.8)]
    assert world.finals(stream) == []


def test_a_recogniser_that_lags_behind_still_says_the_last_words() -> None:
    world = World(kind=Lagging)
    stream = world.open(rules=EndpointRules(None, None, None, VoiceRules(silence_s=0.1)))
    world.play(stream, "ssss..ss..")
    assert [len(final.text.split()) for final in world.finals(stream)] == [4, 2]


def test_words_end_an_utterance_beside_voice_and_voice_then_ends_no_empty_one() -> None:
    world = World()
    stream = world.open(rules=EndpointRules(0.2, None, None, VoiceRules(silence_s=0.5)))
    world.play(stream, "ss......")
    assert spans(world, stream) == [(0.0, 0.4)]
    assert speech(world, stream) == [SpeechStarted(0.0), SpeechStopped(0.2)]


def test_voice_ends_an_utterance_beside_words() -> None:
    world = World()
    stream = world.open(rules=EndpointRules(0.9, 0.9, None, VoiceRules(silence_s=0.3)))
    world.play(stream, "ss......")
    assert spans(world, stream) == [(0.0, 0.5)]


def test_speech_goes_on_over_a_mark_and_ends_the_next_utterance() -> None:
    world = World()
    stream = world.open(rules=VOICE)
    world.play(stream, "ss")
    world.mark(stream, Mark("here"))
    world.play(stream, "ss....")
    assert spans(world, stream) == [(0.0, 0.2), (0.2, 0.7)]
    assert speech(world, stream) == [SpeechStarted(0.0), SpeechStopped(0.4)]


def test_a_mark_in_the_silence_leaves_nothing_for_voice_to_end() -> None:
    world = World()
    stream = world.open(rules=VOICE)
    world.play(stream, "ss.")
    world.mark(stream, Mark("here"))
    world.play(stream, ".....")
    assert spans(world, stream) == [(0.0, 0.3)]
    assert speech(world, stream)[-1] == SpeechStopped(0.2)


def test_a_mark_where_silence_ends_the_utterance_comes_back_with_an_empty_final() -> None:
    world = World()
    stream = world.open(chunk_ms=400, rules=VOICE)
    world.say(stream, 100)
    world.say(stream, 300, 0.0)
    world.mark(stream, Mark("here"))
    world.run()
    assert [(final.text != "", final.mark) for final in world.finals(stream)] == [(True, None), (False, Mark("here"))]


@pytest.mark.parametrize(("script", "stop_s"), [("ss", 0.2), ("ss..", 0.2), ("ss.s", 0.4)])
def test_speech_to_the_very_end_stops_there_before_the_last_final(script: str, stop_s: float) -> None:
    world = World()
    stream = world.open(rules=VOICE)
    world.play(stream, script)
    world.mark(stream, END)
    world.run()
    assert world.heard[stream][-2] == SpeechStopped(stop_s)
    assert isinstance(world.heard[stream][-1], Final)


def test_what_is_told_stands_in_order() -> None:
    world = World()
    stream = world.open(rules=VOICE)
    world.play(stream, ".ss...ss...")
    kinds = [kind for kind, _ in groupby(world.heard[stream], type)]
    assert kinds == [SpeechStarted, Partial, SpeechStopped, Final] * 2


def test_the_detector_is_not_asked_about_streams_without_rules_of_voice() -> None:
    world = World()
    plain, watched = world.open(), world.open(rules=VOICE)
    world.play(plain, "sss")
    assert world.now_s == pytest.approx(3 * (STEP_FIXED_S + STEP_EACH_S))
    world.play(watched, "s")
    assert world.reports[-1].duration_s == pytest.approx(STEP_FIXED_S + STEP_EACH_S + 10 * WINDOW_COST_S)


def test_the_cost_of_voice_counts_in_admission() -> None:
    def capacity(rules: EndpointRules) -> int:
        world = World(AdmissionRules(0.8))
        streams = [world.open(rules=rules) for _ in range(8)]
        for turn in range(100):
            for stream in streams[: 1 + turn % 8]:
                world.say(stream, CHUNK)
            world.run()
        answer = world.admission.capacity(0.1, world.now_s)
        assert answer is not None
        return answer

    each_s = STEP_EACH_S + 10 * WINDOW_COST_S
    assert capacity(NEVER) == pytest.approx((0.8 - STEP_FIXED_S * 50) / (10 * STEP_EACH_S), abs=2)
    assert capacity(VOICE) <= 0.8 / (10 * each_s) + 1


def test_rules_by_name_turn_on_what_they_say() -> None:
    assert endpoint_rules("words") == EndpointRules()
    assert endpoint_rules("voice") == EndpointRules(None, None, voice=VoiceRules())
    assert endpoint_rules("both") == EndpointRules(voice=VoiceRules())
