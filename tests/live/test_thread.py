"""The engine thread answers whoever asks, also in the instant in which it ends."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait

import pytest

from auricle.errors import EngineError
from auricle.live.admission import Admission, AdmissionRules
from auricle.live.scheduler import Scheduler
from auricle.live.thread import EngineThread
from tests.live.fakes import FakeRecognizer

WAIT_S = 60.0


def start() -> EngineThread:
    admission = Admission(AdmissionRules(), tick_s=0.001, slots=10)
    return EngineThread(Scheduler(FakeRecognizer(), admission, time.perf_counter), lambda _: None, lambda: 0.001)


def submit(thread: EngineThread, enough: threading.Event, futures: list[Future[int]]) -> None:
    while not enough.is_set():
        futures.append(thread.submit(lambda: 1))


def test_every_request_is_answered_while_the_thread_ends() -> None:
    for _ in range(20):
        thread, enough, futures = start(), threading.Event(), list[Future[int]]()
        asker = threading.Thread(target=submit, args=(thread, enough, futures))
        asker.start()
        while not futures:
            time.sleep(0.001)
        assert futures[0].result(WAIT_S) == 1
        thread.stop()
        enough.set()
        asker.join()
        assert not wait(futures, WAIT_S).not_done
        with pytest.raises(EngineError, match="stopping"):
            thread.submit(lambda: 1).result(WAIT_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_cannot_deliver_ends_and_refuses_what_follows() -> None:
    def deliver(_: object) -> None:
        raise SystemExit

    admission = Admission(AdmissionRules(), tick_s=0.001, slots=10)
    thread = EngineThread(Scheduler(FakeRecognizer(), admission, time.perf_counter), deliver, lambda: 0.001)
    assert thread.submit(lambda: 1).result(WAIT_S) == 1
    until_s = time.monotonic() + WAIT_S
    while thread.alive:
        assert time.monotonic() < until_s
        time.sleep(0.01)
    with pytest.raises(EngineError, match="stopping"):
        thread.submit(lambda: 1).result(WAIT_S)
