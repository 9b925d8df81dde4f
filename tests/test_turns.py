"""Live steps go before the work of files, piece by piece, and neither keeps the other from computing."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from auricle.turns import FILES_SHARE, PIECE_S, Turns, Wait, give_way

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 10.0
PIECE, STEP = 0.02, 0.01


class Clock:
    """Time that goes on by what is computed alone; only who has the turn computes."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.ran: list[str] = []
        self.computing = 0

    def __call__(self) -> float:
        return self.now_s

    def compute(self, name: str, seconds: float) -> None:
        self.computing += 1
        assert self.computing == 1
        self.ran.append(name)
        self.now_s += seconds
        self.computing -= 1


class Work:
    """Files in a thread, a piece for each `release()`, or any number once `free()` was called."""

    def __init__(self, turns: Turns, clock: Clock) -> None:
        self._turns, self._clock = turns, clock
        self._may = threading.Semaphore(0)
        self._began = threading.Semaphore(0)
        self._over = False
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over = True
            self._may.release()
            self._thread.join(WAIT_S)
            assert not self._thread.is_alive()

    def wait_until_begun(self) -> None:
        assert self._began.acquire(timeout=WAIT_S)

    def finish_piece(self) -> None:
        self._may.release()

    def _run(self) -> None:
        with self._turns.files(1.0):
            while True:
                self._began.release()
                self._may.acquire()
                if self._over:
                    return
                self._clock.compute("file", PIECE)
                give_way()


def test_astep_waits_for_the_piece_under_way_and_no_more() -> None:
    clock = Clock()
    turns = Turns(clock)
    turns.live = 1
    work = Work(turns, clock)
    waits: list[Wait] = []

    def step() -> None:
        with turns.step() as wait:
            waits.append(wait)
            clock.compute("step", STEP)

    with work.running():
        work.wait_until_begun()
        stepping = threading.Thread(target=step)
        stepping.start()
        while not turns.step_waits:
            pass
        work.finish_piece()
        stepping.join(WAIT_S)
        assert clock.ran == ["file", "step"]
        assert waits == [Wait(PIECE, 1)]


@pytest.mark.parametrize("piece_s", [0.0001, 0.002, 0.01, 0.03])
def test_pieces_of_any_length_get_their_share_and_no_step_waits_for_long(piece_s: float) -> None:
    clock = Clock()
    turns = Turns(clock)
    turns.live = 1
    begun, over = threading.Event(), threading.Event()

    def files() -> None:
        with turns.files(1.0):
            begun.set()
            while not over.is_set():
                clock.compute("file", piece_s)
                give_way()

    worker = threading.Thread(target=files)
    worker.start()
    assert begun.wait(WAIT_S)
    longest_s = 0.0
    for _ in range(500):
        with turns.step() as wait:
            clock.compute("step", STEP)
        longest_s = max(longest_s, wait.waited_s)
    over.set()
    worker.join(WAIT_S)
    files_s = piece_s * clock.ran.count("file")
    assert files_s / (files_s + STEP * 500) > FILES_SHARE - 0.02
    assert longest_s <= max(PIECE_S, piece_s) + 1e-9


def test_without_live_streams_no_way_is_given() -> None:
    turns = Turns()
    with turns.files(1.0):
        give_way()
        give_way()
        assert turns.pieces == 0
        turns.live = 1
        give_way()
        assert turns.pieces == 1


def test_who_computes_no_files_gives_no_way() -> None:
    turns = Turns()
    turns.live = 1
    give_way()
    with turns.files(1.0):
        pass
    give_way()
    assert turns.pieces == 1


def test_the_device_is_waited_for_before_a_step_goes_first() -> None:
    turns, settled = Turns(), list[int]()
    turns.live = 1
    with turns.files(1.0, lambda: settled.append(turns.pieces)):
        give_way()
        give_way()
    assert settled == [0, 1]


def test_work_that_fails_leaves_the_turn_to_others() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.files(1.0):
        1 / 0  # noqa: B018  what fails
    with pytest.raises(ZeroDivisionError), turns.step():
        1 / 0  # noqa: B018  what fails
    with turns.files(1.0), pytest.raises(ZeroDivisionError):
        1 / 0  # noqa: B018  what fails
    with turns.step() as wait:
        assert wait.pieces == 0


def test_so_much_audio_fits_together_as_keeps_pieces_short() -> None:
    clock = Clock()
    turns = Turns(clock)
    assert turns.fitting_s == float("inf")
    turns.live = 1
    assert turns.fitting_s == 0.0
    with turns.files(40.0):
        for seconds in (0.01, 2 * PIECE_S, 0.02):
            clock.compute("file", seconds)
            give_way()
    assert turns.fitting_s == pytest.approx(20.0)
    turns.live = 0
    assert turns.fitting_s == float("inf")
