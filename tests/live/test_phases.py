"""Gathering in ticks keeps to the bounds that phases of the chunk period would: the clock is simulated."""

from __future__ import annotations

import heapq
import itertools
import random
from contextlib import suppress

import numpy as np
import pytest

from auricle.live.admission import LONGEST_STEP_S, Admission, AdmissionRules, RefusedError
from tests.live.fakes import RATE
from tests.live.worlds import CHUNK, STEP_EACH_S, STEP_FIXED_S, World

PERIOD_S, MAX_DUTY = CHUNK / RATE, 0.8
TICK_S = 0.02


def calibrated(world: World) -> World:
    """Tell what steps cost, as calibration does."""
    for size in (1, 2, 4, 8, 16, 32, 64):
        for _ in range(12):
            world.admission.model.add(size, STEP_FIXED_S + STEP_EACH_S * size)
    world.admission.keep_steps_short()
    return world


def filled(world: World) -> World:
    """Let in as many streams as admission lets in."""
    with suppress(RefusedError):
        while True:
            world.open()
    return world


def play(world: World, periods: int, seed: int) -> list[tuple[float, float]]:
    """Let every stream speak from a moment of its own, ticks as the engine's thread makes them; return all steps."""
    drawn = random.Random(seed)
    due = [(drawn.uniform(0, PERIOD_S), number) for number in range(len(world.scheduler.streams))]
    streams, samples = list(world.scheduler.streams), np.ones(CHUNK, np.float32)
    heapq.heapify(due)
    next_tick_s, steps = 0.0, list[tuple[float, float]]()
    while due[0][0] < periods * PERIOD_S:
        while due[0][0] <= world.now_s:
            at_s, number = due[0]
            if streams[number].buffer.append(samples, at_s):
                world.scheduler.notify(streams[number])
            heapq.heapreplace(due, (at_s + PERIOD_S, number))
        if world.scheduler.has_work and world.now_s >= next_tick_s:
            next_tick_s = world.now_s + world.admission.tick_s
            for _ in world.scheduler.tick():
                steps.append((world.now_s - world.reports[-1].duration_s, world.now_s))
        else:
            world.now_s = max(world.now_s, min(due[0][0], next_tick_s if world.scheduler.has_work else due[0][0]))
    return steps


@pytest.mark.parametrize("seed", range(2))
def test_what_admission_lets_in_is_served_within_a_period_in_short_steps(seed: int) -> None:
    world = filled(calibrated(World(AdmissionRules(MAX_DUTY))))
    steps = play(world, 40, seed)
    durations = [end - start for start, end in steps]
    assert max(durations) <= LONGEST_STEP_S
    for first, _ in steps:
        inside = sum(end - start for start, end in steps if first <= start < first + PERIOD_S)
        assert inside <= MAX_DUTY * PERIOD_S + LONGEST_STEP_S
    waits = list(itertools.chain.from_iterable(report.waits_s for report in world.reports))
    assert max(waits) <= TICK_S + MAX_DUTY * PERIOD_S
    assert sum(stream.late_chunks for stream in world.scheduler.streams) == 0
    assert len(world.scheduler.streams) > 50


def test_streams_that_are_all_ready_at_once_are_stepped_in_parts_and_each_part_is_heard_at_once() -> None:
    world = calibrated(World())
    streams = [world.open() for _ in range(50)]
    for stream in streams:
        world.say(stream, CHUNK)
    heard = [[stream for stream, _ in out] for out in world.scheduler.tick()]
    assert [len(block) for block in world.blocks] == [16, 16, 18]
    assert heard == [streams[:16], streams[16:32], streams[32:]]
    assert max(report.duration_s for report in world.reports) <= LONGEST_STEP_S


def test_streams_with_long_chunks_count_for_what_they_cost() -> None:
    world = calibrated(World())
    world.admission.weights = {0.4: 4.0}
    for stream in [world.open(400) for _ in range(6)] + [world.open(100) for _ in range(8)]:
        world.say(stream, round(stream.period_s * RATE))
    world.run()
    assert [len(block) for block in world.blocks] == [4, 10]


def test_a_step_that_is_costly_in_any_case_is_not_cut_to_pieces() -> None:
    admission = Admission(AdmissionRules(), TICK_S, 100)
    for size in (1, 2, 4, 8, 16):
        admission.model.add(size, 0.1 + 0.005 * size)
    admission.keep_steps_short()
    assert admission.together == pytest.approx(80)


def test_steps_are_not_cut_where_streams_need_the_time_that_cutting_takes() -> None:
    world = calibrated(World(AdmissionRules(max_duty=None)))
    streams = [world.open() for _ in range(100)]
    for stream in streams:
        world.say(stream, CHUNK)
    world.run()
    assert [len(block) for block in world.blocks] == [64, 36]
    for stream in streams[50:]:
        world.scheduler.remove(stream)
    world.blocks.clear()
    for stream in streams[:50]:
        world.say(stream, CHUNK)
    world.run()
    assert [len(block) for block in world.blocks] == [16, 16, 18]


def test_steps_that_were_small_for_long_make_no_later_ones_small() -> None:
    world = calibrated(World())
    stream = world.open()
    for _ in range(2000):
        world.say(stream, CHUNK)
        world.run()
    world.blocks.clear()
    for other in [world.open() for _ in range(20)]:
        world.say(other, CHUNK)
    world.run()
    assert [len(block) for block in world.blocks] == [20]


def test_nothing_is_cut_before_the_cost_is_known() -> None:
    world = World()
    for stream in [world.open() for _ in range(60)]:
        world.say(stream, CHUNK)
    world.run()
    assert [len(block) for block in world.blocks] == [60]


def test_the_wait_for_a_tick_is_told_apart_from_the_wait_within_it() -> None:
    world = calibrated(World())
    for _ in range(30):
        world.say(world.open(), CHUNK)
    world.now_s += 0.01
    world.run()
    first, second = world.reports
    assert first.waits_s == first.tick_waits_s == pytest.approx([0.01] * 16)
    assert second.tick_waits_s == pytest.approx([0.01] * 14)
    assert second.waits_s == pytest.approx([0.01 + STEP_FIXED_S + 16 * STEP_EACH_S] * 14)


def test_time_in_which_steps_wait_for_files_counts_as_duty_while_it_is_recent() -> None:
    world = calibrated(World(AdmissionRules(MAX_DUTY)))
    free, capacity = world.admission.load([], PERIOD_S, 0.0), world.admission.capacity(PERIOD_S, 0.0)
    for tick in range(100):
        world.admission.blocked(0.1 * tick, 0.1 * tick + 0.02, 1)
    busy = world.admission.load([], PERIOD_S, 10.0)
    assert busy.duty - free.duty == pytest.approx(0.2, abs=0.01)
    assert busy.duty_with_one_more - free.duty_with_one_more == pytest.approx(0.2, abs=0.01)
    left = world.admission.capacity(PERIOD_S, 10.0)
    assert capacity is not None
    assert left is not None
    assert 0.6 * capacity < left < 0.8 * capacity
    assert world.admission.load([], PERIOD_S, 30.0) == free
