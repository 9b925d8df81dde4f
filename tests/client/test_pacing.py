"""Chunks are sent by an absolute schedule: on time, late ones at once, and never early."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from auricle.client.pacing import Pacer, Schedule
from auricle.errors import UsageError
from tests.client.leaping import run_leaping

if TYPE_CHECKING:
    from tests.client.leaping import LeapingLoop

TIMER_S = 0.0011
"""Timers count in milliseconds, rounded up."""


def play(schedule: Schedule, pause_s: dict[int, float] | None = None) -> list[tuple[int, float, float]]:
    """Return chunk, due and sent times from the start; sending chunk `i` blocks for `pause_s[i]`."""
    sent: list[tuple[int, float, float]] = []

    async def main(loop: LeapingLoop) -> None:
        start_s = loop.time()

        def send(index: int, due_s: float) -> None:
            sent.append((index, due_s - start_s, loop.time() - start_s))
            loop.block((pause_s or {}).get(index, 0.0))

        await Pacer(schedule, start_s, send, loop.time).finished

    run_leaping(main)
    return sent


def test_a_chunk_is_due_when_its_last_sample_is_captured() -> None:
    schedule = Schedule(samples=2500, rate=1000, chunk=1000)
    assert [schedule.due_s(index) for index in range(len(schedule))] == [1.0, 2.0, 2.5]
    assert [schedule.span(index) for index in range(len(schedule))] == [(0, 1000), (1000, 2000), (2000, 2500)]


def test_speed_brings_every_chunk_forward() -> None:
    assert [Schedule(2000, 1000, 1000, speed=4.0).due_s(index) for index in range(2)] == [0.25, 0.5]


def test_no_chunk_is_sent_before_it_is_due_and_none_much_later() -> None:
    sent = play(Schedule(1000, 2000, 40))
    assert [index for index, _, _ in sent] == list(range(25))
    assert all(-1e-9 <= sent_s - due_s < TIMER_S for _, due_s, sent_s in sent)


def test_a_stall_makes_chunks_late_and_moves_none() -> None:
    sent = play(Schedule(1000, 1000, 20), {10: 0.3})
    late = [sent_s - due_s for _, due_s, sent_s in sent]
    assert late[11] == pytest.approx(0.28, abs=TIMER_S)
    assert max(sent_s for _, _, sent_s in sent[11:24]) - sent[11][2] < TIMER_S
    assert all(each < TIMER_S for each in late[27:])
    assert sent[-1][2] == pytest.approx(1.0, abs=TIMER_S)


def test_the_time_that_sending_takes_adds_up_to_no_drift() -> None:
    sent = play(Schedule(1000, 1000, 20), dict.fromkeys(range(50), 0.01))
    assert sent[-1][2] == pytest.approx(1.0, abs=TIMER_S)  # with a sleep after each it would be 1.5


def test_an_unpaced_schedule_sends_all_at_once_and_is_never_late() -> None:
    sent = play(Schedule(100_000, 1000, 100, speed=None))
    assert len(sent) == 1000
    assert all(sent_s == due_s == 0.0 for _, due_s, sent_s in sent)


def test_what_falls_due_while_held_goes_out_at_the_release() -> None:
    sent: list[int] = []

    async def main(loop: LeapingLoop) -> None:
        pacer = Pacer(Schedule(500, 1000, 50), loop.time(), lambda index, _: sent.append(index), loop.time)
        await asyncio.sleep(0.12)
        pacer.hold()
        await asyncio.sleep(0.2)
        assert sent == [0, 1]
        pacer.release()
        assert sent == [0, 1, 2, 3, 4, 5]
        await pacer.finished

    run_leaping(main)
    assert sent == list(range(10))


def test_an_error_of_sending_ends_the_schedule() -> None:
    def send(index: int, due_s: float) -> None:
        raise ConnectionResetError(f"{index} {due_s}")

    async def main(loop: LeapingLoop) -> None:
        await Pacer(Schedule(500, 1000, 50), loop.time(), send, loop.time).finished

    with pytest.raises(ConnectionResetError):
        run_leaping(main)


def test_nothing_is_sent_after_it_was_cancelled() -> None:
    sent: list[int] = []

    async def main(loop: LeapingLoop) -> None:
        pacer = Pacer(Schedule(500, 1000, 50), loop.time(), lambda index, _: sent.append(index), loop.time)
        await asyncio.sleep(0.07)
        pacer.cancel()
        pacer.release()
        await asyncio.sleep(0.1)

    run_leaping(main)
    assert sent == [0]


def test_an_empty_recording_is_over_at_once() -> None:
    assert play(Schedule(0, 1000, 50)) == []


@pytest.mark.parametrize(("chunk", "speed"), [(0, 1.0), (10, 0.0), (10, -1.0), (10, float("nan")), (10, float("inf"))])
def test_a_schedule_that_cannot_be_followed_is_refused(chunk: int, speed: float) -> None:
    with pytest.raises(UsageError):
        Schedule(100, 1000, chunk, speed)
