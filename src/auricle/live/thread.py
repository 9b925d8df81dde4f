"""The engine thread: it alone calls the recogniser's live methods, so nobody else ever waits for the device.

It sleeps until a stream is ready or somebody asks for something, and starts ticks at least `tick_s` apart: streams
gather in a block while the engine is busy, and a stream on an idle engine waits for nothing. Where chunks of a stream
are left over, the next tick starts at once.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from auricle.errors import AuricleError, EngineError
from auricle.live.events import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from auricle.live.events import Event
    from auricle.live.scheduler import Scheduler
    from auricle.live.stream import LiveStream

Answer = TypeVar("Answer")
TICK_S = 0.02
log = logging.getLogger("auricle.live")


class EngineThread:
    """Runs a scheduler; `deliver` is called on this thread after every tick with all that it brought."""

    def __init__(
        self,
        scheduler: Scheduler,
        deliver: Callable[[list[tuple[LiveStream, Event]]], None],
        tick_s: Callable[[], float] = lambda: TICK_S,
    ) -> None:
        self.scheduler = scheduler
        self._deliver = deliver
        self._tick_s = tick_s
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="auricle-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def ready(self, stream: LiveStream) -> None:
        """Tell that the stream's buffer became ready; from any thread."""
        self.scheduler.notify(stream)
        if not self._wake.is_set():  # else the thread looks once more anyway
            self._wake.set()

    def submit(self, function: Callable[[], Answer]) -> Future[Answer]:
        """Run a function between two ticks and return its future; from any thread."""
        future: Future[Answer] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  it is the caller's, who gets it from the future
                future.set_exception(error)

        with self._lock:  # what is put in before the thread stops is answered
            if self._stopping:
                future.set_exception(EngineError("the engine is stopping", None, "connect to another server"))
            else:
                self._requests.put(run)
                self._wake.set()
        return future

    def stop(self) -> None:
        """End the thread after its tick; streams that are left are closed and told so."""
        self._refuse()
        self._wake.set()
        self._thread.join()

    def _refuse(self) -> None:
        with self._lock:
            self._stopping = True

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._refuse()
            self._serve_requests()
            self._end(EngineError("the server is shutting down", None, "connect again"))

    def _work(self) -> None:
        next_tick_s = 0.0
        while not self._stopping:
            self._wake.wait()
            self._wake.clear()
            while (early_s := next_tick_s - time.perf_counter()) > 0 and not self._stopping:
                time.sleep(early_s)
            next_tick_s = time.perf_counter() + self._tick_s()
            self._serve_requests()
            self._tick()
            if self.scheduler.behind:
                next_tick_s = 0.0
            if self.scheduler.has_work:
                self._wake.set()

    def _serve_requests(self) -> None:
        while True:
            try:
                self._requests.get_nowait()()
            except queue.Empty:
                return

    def _tick(self) -> None:
        try:
            for out in self.scheduler.tick():
                self._deliver(out)
        except Exception as error:
            log.exception("a defect ended all live streams")  # with its name, and not the service
            self._end(EngineError("unexpected error in the engine thread", repr(error), "connect again"))

    def _end(self, error: AuricleError) -> None:
        streams = list(self.scheduler.streams)
        for stream in streams:
            self.scheduler.remove(stream)
        if streams:
            self._deliver([(stream, Failed(error)) for stream in streams])
