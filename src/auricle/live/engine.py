"""What a hub needs of whoever steps its streams, and the engine that does so in a thread of the same process."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from auricle.live.admission import Admission, AdmissionRules, Load
from auricle.live.calibration import calibrate
from auricle.live.scheduler import Scheduler
from auricle.live.stream import MS_PER_S
from auricle.live.thread import TICK_S, EngineThread

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from auricle.engines.contract import StreamingRecognizer
    from auricle.live.events import Event
    from auricle.live.scheduler import StepReport
    from auricle.live.stream import LiveStream

    Deliver = Callable[[list[tuple[LiveStream, Event]]], None]


class LiveEngine(Protocol):
    """Steps streams. All methods belong to one event loop; what is heard is delivered there."""

    @property
    def alive(self) -> bool:
        """Whether streams can be stepped now."""
        ...

    def start(self, deliver: Deliver) -> None:
        """Begin, on the running loop, and give `deliver` all that is heard, in order."""
        ...

    async def add(self, stream: LiveStream) -> None:
        """Open a stream; raises RefusedError at once when there is no room, UnsupportedError for its options."""
        ...

    def ready(self, stream: LiveStream) -> None:
        """Tell that the stream's buffer became ready."""
        ...

    def remove(self, stream: LiveStream) -> None:
        """Give the stream's place back; one that has ended is left alone."""
        ...

    def load(self) -> Load:
        """Return the present load, of all streams of the engine, for a stream of the smallest chunk."""
        ...

    def capacity(self, chunk_ms: int) -> int | None:
        """Return how many streams of this chunk can be served; None while nothing is known."""
        ...

    async def stop(self) -> None:
        """End; streams that are left are told so."""
        ...


class LocalEngine:
    """Steps streams on a thread of its own; `observe` is told of each step, on that thread."""

    def __init__(
        self,
        recognizer: StreamingRecognizer,
        rules: AdmissionRules,
        observe: Callable[[StepReport], None] = lambda _: None,
        tick_s: float = TICK_S,
    ) -> None:
        streaming = recognizer.info.streaming
        self._recognizer = recognizer
        self._chunk_ms = 0 if streaming is None else streaming.chunk_ms[0]
        self._admission = Admission(rules, tick_s, 0 if streaming is None else streaming.slots)
        self._scheduler = Scheduler(recognizer, self._admission, time.perf_counter, observe=observe)
        self._thread: EngineThread

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.alive

    def start(self, deliver: Deliver) -> None:
        """Start the thread; `deliver` is called after every tick, also when nothing was heard."""
        loop = asyncio.get_running_loop()

        def soon(out: list[tuple[LiveStream, Event]]) -> None:
            loop.call_soon_threadsafe(deliver, out)

        self._thread = EngineThread(self._scheduler, soon, lambda: self._admission.tick_s)

    async def calibrate(self, speech: NDArray[np.float32]) -> None:
        """Measure what steps cost on this machine, so that admission knows it before the first client comes."""
        measure = partial(calibrate, self._recognizer, self._admission.model, speech)
        weights = await asyncio.wrap_future(self._thread.submit(measure))
        self._admission.keep_steps_short()
        self._admission.weights = {chunk_ms / MS_PER_S: weight for chunk_ms, weight in weights.items()}

    async def add(self, stream: LiveStream) -> None:
        """Open a stream between two ticks."""
        await asyncio.wrap_future(self._thread.submit(lambda: self._scheduler.add(stream)))

    def ready(self, stream: LiveStream) -> None:
        """Tell the thread that the stream's buffer became ready."""
        self._thread.ready(stream)

    def remove(self, stream: LiveStream) -> None:
        """Close the stream between two ticks."""
        self._thread.submit(lambda: self._scheduler.remove(stream))

    def load(self) -> Load:
        """Return what admission sees."""
        periods_s = [stream.period_s for stream in tuple(self._scheduler.streams)]
        return self._admission.load(periods_s, self._chunk_ms / MS_PER_S, time.perf_counter())

    def capacity(self, chunk_ms: int) -> int | None:
        """Return what the model of step times says."""
        return self._admission.capacity(chunk_ms / MS_PER_S, time.perf_counter())

    async def stop(self) -> None:
        """End the thread after its tick."""
        await asyncio.to_thread(self._thread.stop)
