"""Every stream gets its chunks in time and in order, whatever its neighbours do; the clock is simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auricle.errors import EngineError
from auricle.live.admission import AdmissionRules, RefusedError
from auricle.live.buffer import Mark
from auricle.live.endpoint import EndpointRules
from auricle.live.events import Failed, Partial
from tests.live.worlds import CHUNK, World

if TYPE_CHECKING:
    from auricle.live.stream import LiveStream


def test_a_stream_without_a_whole_chunk_sits_the_tick_out() -> None:
    world = World()
    stream = world.open()
    world.say(stream, CHUNK - 1)
    world.run()
    assert world.blocks == []
    world.say(stream, 1)
    world.run()
    assert world.texts(stream) == ["s1c0n100"]


def test_every_utterance_begins_with_the_shorter_chunk_that_the_model_asks_for() -> None:
    world = World(first_short=60)
    stream = world.open(rules=EndpointRules(silence_s=None, initial_s=None, longest_s=0.3))
    for _ in range(36):
        world.say(stream, 20)
        world.run()
    world.mark(stream, Mark("end"))
    world.say(stream, 40)
    world.run()
    ended_by_length = [40, 100, 100, 100, 0]
    sizes = [len(feed.samples) for block in world.blocks for feed in block]
    assert sizes == [*ended_by_length, *ended_by_length, 40, 0, 40]


def test_streams_that_are_ready_share_a_block_and_the_longest_waiting_is_first() -> None:
    world = World(max_block=2)
    streams = [world.open() for _ in range(3)]
    for stream in streams[::-1]:
        world.say(stream, CHUNK)
        world.now_s += 0.001
    world.run()
    assert [[feed.stream for feed in block] for block in world.blocks] == [[3, 2], [1]]


def test_a_stream_stands_in_a_block_once_even_with_several_chunks_waiting() -> None:
    world = World()
    stream = world.open()
    world.say(stream, 5 * CHUNK)
    world.run()
    assert [len(block) for block in world.blocks] == [1] * 5
    assert world.texts(stream)[-1] == "s1c0n100 s1c1n100 s1c2n100 s1c3n100 s1c4n100"


def test_streams_of_different_chunks_run_side_by_side() -> None:
    world = World()
    short, long = world.open(100), world.open(400)
    for _ in range(8):
        world.say(short, 50)
        world.say(long, 50)
        world.run()
    assert world.texts(short)[-1].split()[-1] == "s1c3n100"
    assert world.texts(long) == ["s2c0n400"]


def test_the_text_of_a_stream_does_not_depend_on_its_neighbours() -> None:
    alone = World()
    single = alone.open()
    for count in (70, 130, 40, 260):
        alone.say(single, count)
        alone.run()
    crowd = World(max_block=3)
    first = crowd.open()
    others = [crowd.open() for _ in range(7)]
    for count in (70, 130, 40, 260):
        crowd.say(first, count)
        for index, other in enumerate(others):
            crowd.say(other, count + 17 * index)
        crowd.run()
    assert crowd.texts(first) == alone.texts(single)


def test_a_mark_ends_the_utterance_exactly_there_and_comes_back_by_name() -> None:
    world = World()
    stream = world.open()
    world.say(stream, 130)
    world.mark(stream, Mark("here"))
    world.say(stream, 100)
    world.run()
    (final,) = world.finals(stream)
    assert final.text == "s1c0n100 s1c1n30"
    assert final.mark == Mark("here")
    assert (final.start_s, final.audio_s) == (0.0, 0.13)
    assert world.texts(stream)[-1] == "s1c0n100"


def test_a_mark_without_audio_still_gets_its_final_and_costs_no_step() -> None:
    world = World()
    stream = world.open()
    world.mark(stream, Mark("first"))
    world.mark(stream, Mark("second"))
    world.run()
    assert [(final.text, final.mark) for final in world.finals(stream)] == [("", Mark("first")), ("", Mark("second"))]
    assert world.blocks == []


def test_the_end_of_a_stream_gives_a_final_and_its_place_back() -> None:
    world = World()
    stream = world.open()
    world.say(stream, 30)
    world.mark(stream, Mark(ends_stream=True))
    world.run()
    assert [final.text for final in world.finals(stream)] == ["s1c0n30"]
    assert world.scheduler.streams == set()
    assert world.recognizer.open_streams == {}


def test_an_utterance_ends_by_itself_after_silence_and_the_next_starts_clean() -> None:
    world = World()
    stream = world.open(rules=EndpointRules(silence_s=0.3, initial_s=None, longest_s=None))
    world.say(stream, CHUNK)
    world.say(stream, 3 * CHUNK, value=0.0)
    world.run()
    (final,) = world.finals(stream)
    assert final.text == "s1c0n100"
    assert final.mark is None
    assert final.audio_s == pytest.approx(0.4)
    world.say(stream, CHUNK)
    world.run()
    assert world.texts(stream)[-1] == "s1c0n100"


def test_utterances_that_end_in_one_tick_are_flushed_in_one_step() -> None:
    world = World()
    rules = EndpointRules(None, None, longest_s=0.1)
    streams = [world.open(rules=rules) for _ in range(4)]
    for stream in streams:
        world.say(stream, CHUNK)
    world.run()
    assert [len(block) for block in world.blocks] == [4, 4]
    assert all(len(world.finals(stream)) == 1 for stream in streams)


def test_a_stream_that_fails_takes_no_other_with_it() -> None:
    world = World()
    good, bad = world.open(), world.open()
    world.recognizer.failing.add(2)
    for stream in (good, bad):
        world.say(stream, 2 * CHUNK)
    world.run()
    assert isinstance(world.heard[bad][-1], Failed)
    assert len(world.heard[bad]) == 1
    assert world.texts(good) == ["s1c0n100", "s1c0n100 s1c1n100"]
    assert world.scheduler.streams == {good}


def test_a_step_that_raises_fails_its_streams_and_later_streams_are_served() -> None:
    world = World()
    stream = world.open()
    world.recognizer.raising = EngineError("the device is gone")
    world.say(stream, CHUNK)
    world.run()
    assert isinstance(world.heard[stream][-1], Failed)
    assert world.scheduler.streams == set()
    world.recognizer.raising = None
    after = world.open()
    world.say(after, CHUNK)
    world.run()
    assert world.texts(after) == ["s2c0n100"]


def test_partials_tell_which_words_will_not_change() -> None:
    world = World()
    stream = world.open()
    for _ in range(5):
        world.say(stream, CHUNK)
        world.run()
    partials = [event for event in world.heard[stream] if isinstance(event, Partial)]
    assert [partial.stable_words for partial in partials] == [0, 0, 1, 2, 3]
    assert [word for partial in partials for word in partial.new_stable] == partials[-1].text.split()[:3]


def test_the_wait_of_every_chunk_is_reported_from_when_it_was_there() -> None:
    world = World(max_block=1)
    streams = [world.open() for _ in range(3)]
    for stream in streams:
        world.say(stream, CHUNK)
    world.run()
    assert [report.waits_s[0] for report in world.reports] == pytest.approx([0.0, 0.005, 0.010])


def test_late_chunks_are_counted() -> None:
    world = World()
    stream = world.open()
    world.say(stream, CHUNK)
    world.now_s += 0.2
    world.run()
    world.say(stream, CHUNK)
    world.run()
    assert (stream.chunks, stream.late_chunks) == (2, 1)


class TestAdmission:
    """With 4 ms a step and 1 ms a stream, 100 ms chunks and ticks of 20 ms, duty is 0.2 + 0.01 n: 60 streams at 0.8."""

    def filled(self, limit: float = 0.8) -> tuple[World, int]:
        world = World(AdmissionRules(limit))
        streams: list[LiveStream] = []
        for _ in range(200):
            try:
                streams.append(world.open())
            except RefusedError:
                break
            for start in range(0, len(streams), 1 + len(streams) // 5):
                for stream in streams[start : start + 1 + len(streams) // 5]:
                    world.say(stream, CHUNK)
                world.run()
            world.now_s += 1.0
        return world, len(streams)

    def test_streams_are_let_in_up_to_the_measured_duty(self) -> None:
        _, admitted = self.filled()
        assert 50 <= admitted <= 60

    def test_capacity_is_known_before_it_is_reached(self) -> None:
        world, admitted = self.filled(0.4)
        capacity = world.admission.capacity(0.1, world.now_s)
        assert capacity is not None
        assert capacity == pytest.approx(admitted, abs=2)

    def test_a_refusal_says_the_limit_what_was_seen_and_when_to_come_back(self) -> None:
        world, _ = self.filled()
        with pytest.raises(
            RefusedError, match=r"limit 0\.8, observed \d+ live streams, duty .*try again in"
        ) as refused:
            world.open()
        assert refused.value.retry_after_s > 0
        assert refused.value.load.duty_with_one_more > 0.8

    def test_a_place_given_back_can_be_taken(self) -> None:
        world, _ = self.filled()
        world.scheduler.remove(next(iter(world.scheduler.streams)))
        world.open()

    def test_the_number_of_slots_is_a_limit_of_its_own(self) -> None:
        world = World(slots=2)
        world.open()
        world.open()
        with pytest.raises(RefusedError, match="limit 2"):
            world.open()

    def test_an_engine_that_was_really_busier_than_modelled_lets_nobody_in(self) -> None:
        world = World(AdmissionRules(0.8))
        stream = world.open()
        for _ in range(50):
            world.say(stream, CHUNK)
            world.run()
            world.admission.busy.add(world.now_s, world.now_s + 0.09, 1)
            world.now_s += 0.1
        with pytest.raises(RefusedError):
            world.open()

    def test_streams_that_have_just_left_do_not_keep_others_out(self) -> None:
        world, admitted = self.filled()
        for stream in list(world.scheduler.streams):
            world.scheduler.remove(stream)
        for _ in range(admitted // 2):
            world.open()
