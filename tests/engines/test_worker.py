"""A worker answers calls, tells how it died, and never outlives its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from auricle.engines.worker import Worker
from auricle.errors import CancelledError, EngineCrashedError, EngineError, ModelError
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = "tests.engines.test_worker:Service"


class Service:
    """What the tests run in a child process."""

    def __init__(self, tracer: Tracer, start: int) -> None:
        if start < 0:
            raise ModelError("a negative start", start, "use a positive one")
        self._tracer = tracer
        self._start = start

    def add(self, number: int) -> int:
        with self._tracer.span("decode"):
            return self._start + number

    def divide(self, number: int) -> float:
        return self._start / number

    def refuse(self) -> None:
        raise ModelError("refused", "this", "ask for that")

    def sleep(self, seconds: float) -> str:
        time.sleep(seconds)
        return "slept"

    def exit_like_a_library(self) -> None:
        os.write(1, b"fatal: 'vocab_size' does not exist in the metadata\n")
        os._exit(255)


@pytest.fixture
def tracer() -> Tracer:
    return Tracer()


@pytest.fixture
def worker(tracer: Tracer) -> Iterator[Worker]:
    worker = Worker(SERVICE, (40,), tracer, lane="test")
    yield worker
    worker.stop()


def test_a_call_returns_its_value_and_its_spans(worker: Worker, tracer: Tracer) -> None:
    assert worker.call("add", 2) == 42
    assert [(span.stage, span.lane) for span in tracer.drain()] == [("decode", "test")]


def test_our_own_errors_arrive_as_they_were_raised(worker: Worker) -> None:
    with pytest.raises(ModelError) as error:
        worker.call("refuse")
    assert (error.value.what, error.value.value, error.value.remedy) == ("refused", "this", "ask for that")


def test_any_other_exception_arrives_as_an_engine_error_with_its_traceback(worker: Worker) -> None:
    with pytest.raises(EngineError, match="ZeroDivisionError") as error:
        worker.call("divide", 0)
    assert "in divide" in "".join(error.value.__notes__)
    assert worker.call("add", 1) == 41


def test_a_library_that_ends_the_process_is_reported_with_what_it_printed(worker: Worker) -> None:
    with pytest.raises(EngineCrashedError, match=r"255.*vocab_size"):
        worker.call("exit_like_a_library")
    with pytest.raises(EngineCrashedError):
        worker.call("add", 1)


def test_a_service_that_cannot_start_raises_its_error_and_leaves_no_process() -> None:
    before = psutil.Process().children()
    with pytest.raises(ModelError, match="negative"):
        Worker(SERVICE, (-1,), Tracer())
    assert psutil.Process().children() == before


def test_a_cancelled_call_returns_at_once_and_its_answer_is_not_taken_for_the_next(worker: Worker) -> None:
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    start = time.monotonic()
    with pytest.raises(CancelledError):
        worker.call("sleep", 0.8, cancel=cancel)
    assert time.monotonic() - start < 0.6
    assert worker.call("add", 2) == 42


def test_stopping_a_busy_worker_fails_its_call(worker: Worker) -> None:
    threading.Timer(0.2, worker.stop, kwargs={"grace_s": 0.0}).start()
    with pytest.raises(EngineCrashedError):
        worker.call("sleep", 30)


def test_a_worker_ends_when_its_parent_is_killed() -> None:
    program = (
        "from auricle.engines.worker import Worker; from auricle.trace import Tracer; import time\n"
        f"print(Worker({SERVICE!r}, (1,), Tracer()).pid, flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert psutil.wait_procs([child], timeout=5)[1] == []
