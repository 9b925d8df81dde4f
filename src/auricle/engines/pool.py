"""A bounded pool of identical workers, started when first needed and replaced after a crash or a cancelled call."""

from __future__ import annotations

import os
import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from auricle.engines.checks import check_loaded
from auricle.engines.worker import CANCEL_POLL_S
from auricle.errors import CancelledError, EngineCrashedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auricle.engines.worker import Worker


def usable_cpus() -> int:
    """Return how many logical CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerPool:
    """At most `size` workers made by `start(index)`; a call runs on one that is idle and waits when none is."""

    def __init__(self, start: Callable[[int], Worker], size: int) -> None:
        self._start = start
        self._places: queue.LifoQueue[int] = queue.LifoQueue()
        self._workers: dict[int, Worker] = {}
        self._lock = threading.Lock()
        self._stopped = False
        for index in reversed(range(size)):
            self._places.put(index)

    def call(self, method: str, *args: Any, cancel: threading.Event | None = None) -> Any:
        """Run one call on an idle worker; raises what `Worker.call` raises, and EngineError after `stop`."""
        with self._place(cancel) as index:
            try:
                return self._worker(index).call(method, *args, cancel=cancel)
            except (CancelledError, EngineCrashedError):
                self._discard(index)
                check_loaded(unloaded=self._stopped)
                raise

    def stop(self) -> None:
        """End all workers; calls under way and later ones raise EngineError."""
        with self._lock:
            self._stopped = True
            indexes = list(self._workers)
        for index in indexes:
            self._discard(index)

    @contextmanager
    def _place(self, cancel: threading.Event | None) -> Iterator[int]:
        while True:
            check_loaded(unloaded=self._stopped)
            if cancel is not None and cancel.is_set():
                raise CancelledError("the work was cancelled")
            try:
                index = self._places.get(timeout=CANCEL_POLL_S)
                break
            except queue.Empty:
                continue
        try:
            yield index
        finally:
            self._places.put(index)

    def _worker(self, index: int) -> Worker:
        with self._lock:
            check_loaded(unloaded=self._stopped)
            worker = self._workers.get(index)
        if worker is not None and worker.alive:
            return worker
        self._discard(index)
        worker = self._start(index)
        with self._lock:
            self._workers[index] = worker
            stopped = self._stopped
        if stopped:
            self._discard(index)
            check_loaded(unloaded=self._stopped)
        return worker

    def _discard(self, index: int) -> None:
        with self._lock:
            worker = self._workers.pop(index, None)
        if worker is not None:
            worker.stop(grace_s=0.0)
