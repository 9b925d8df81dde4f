"""The buffer gives every sample once, in order, in chunks, and ends utterances exactly at their marks."""

from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from auricle.live.buffer import AudioBuffer, Mark

CHUNK = 10
operations = st.lists(st.one_of(st.integers(0, 35), st.none(), st.just("take")), max_size=40)


def samples(start: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.arange(start, start + count, dtype=np.float32)


@given(operations, st.sampled_from([0, 7]))
def test_every_sample_comes_once_in_order_and_marks_at_their_place(
    plan: list[int | str | None], first_short: int
) -> None:
    buffer = AudioBuffer(CHUNK, first_short)
    expected: list[list[float]] = [[]]
    found: list[list[float]] = [[]]
    count = marks = ready = 0

    def take() -> bool:
        taken = buffer.take()
        if taken is None:
            return False
        assert len(taken.samples) == (CHUNK if found[-1] else CHUNK - first_short) or taken.mark is not None
        found[-1] += taken.samples.tolist()
        if taken.mark is not None:
            assert taken.mark.name == str(len(found) - 1)
            found.append([])
        return taken.more

    for step in plan:
        if step == "take":
            ready = int(take())
        elif step is None:
            became = buffer.mark(Mark(str(marks)), 0.0)
            assert became == (not ready)
            ready, marks = 1, marks + 1
            expected.append([])
        elif isinstance(step, int):
            became = buffer.append(samples(count, step), 0.0)
            assert not (became and ready)
            ready = ready or int(became)
            expected[-1] += samples(count, step).tolist()
            count += step
    while ready:
        ready = int(take())
    assert buffer.take() is None
    assert found[:-1] == expected[:-1]
    left = len(expected[-1])
    whole = max(0, (left + first_short) // CHUNK * CHUNK - first_short)
    assert found[-1] == expected[-1][:whole]
    assert buffer.samples == left - whole
    assert buffer.received == count


def test_the_wait_is_counted_from_the_last_sample_of_the_chunk() -> None:
    buffer = AudioBuffer(CHUNK)
    buffer.append(samples(0, 9), 1.0)
    buffer.append(samples(9, 2), 2.0)
    buffer.append(samples(11, 9), 3.0)
    first, second = buffer.take(), buffer.take()
    assert first is not None
    assert second is not None
    assert (first.since_s, second.since_s) == (2.0, 3.0)


def test_a_reader_and_a_writer_lose_nothing_and_no_wake_up() -> None:
    buffer = AudioBuffer(CHUNK)
    ready = threading.Semaphore(0)
    found: list[float] = []

    def read() -> None:
        while len(found) < 50_000:
            assert ready.acquire(timeout=60), "a wake-up was lost"
            taken = buffer.take()
            assert taken is not None, "woken for nothing"
            found.extend(taken.samples.tolist())
            if taken.more:
                ready.release()

    reader = threading.Thread(target=read)
    reader.start()
    for start in range(0, 50_000, 5):
        if buffer.append(samples(start, 5), 0.0):
            ready.release()
    reader.join(20)
    assert found == list(range(50_000))


def test_what_follows_an_utterance_that_ended_elsewhere_begins_one_too() -> None:
    buffer = AudioBuffer(CHUNK, first_short=7)
    assert buffer.append(samples(0, 3), 0.0)
    first = buffer.take()
    assert first is not None
    assert not buffer.append(samples(3, 5), 1.0)
    assert buffer.restart(), "three samples are enough for a first chunk"
    second = buffer.take()
    assert second is not None
    assert second.samples.tolist() == [3, 4, 5]
    assert not buffer.append(samples(8, 1), 2.0)
    assert buffer.put_back(second, 2), "what was cut off and what came since are enough"
    third = buffer.take()
    assert third is not None
    assert third.samples.tolist() == [5, 6, 7]
