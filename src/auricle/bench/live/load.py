"""The load: fleets of clients in processes of their own, so that nothing of the benchmark delays them."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from auricle.client.fleet import Concurrency, FleetResult, FleetSettings, Poisson, run_fleet
from auricle.engines.worker import Worker
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from types import TracebackType

    from auricle.client.clips import Clip
    from auricle.client.dialects.base import Target

Answer = TypeVar("Answer")
SERVICE = "auricle.bench.live.load:LoadService"
POLL_S = 0.25
GRACE_S = 5.0
RAMP_S_PER_STREAM = 0.02
LONGEST_RAMP_S = 2.0
MOST_STREAMS = 1_000_000
MOST_LIVE = 20_000


class LoadService:
    """The side of the load process: plays fleets of the recordings that it was given."""

    def __init__(self, _: Tracer, clips: Sequence[Clip]) -> None:
        self._clips = clips
        gc.collect()
        gc.freeze()  # what is here stays, and need not be looked through while streams are on time

    def run(self, settings: FleetSettings) -> FleetResult:
        """Play a fleet to its end, or until this process is told to end (not on Windows).

        Raises UsageError for settings that cannot be followed.
        """
        return run_loop(run_fleet(settings, self._clips, started=_until_terminated))


def _until_terminated(stop: Callable[[], None]) -> None:
    """Have the fleet stop, and give what it has, at the signal that would end the process."""
    if sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)


class InterruptedLoad(KeyboardInterrupt):
    """The user interrupted the load; `results` is what was recorded until then."""

    def __init__(self, results: list[FleetResult]) -> None:
        super().__init__()
        self.results = results


def run_loop(main: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a coroutine on uvloop where there is one."""
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)


@dataclass(frozen=True, slots=True)
class Load:
    """One level of load on a target: `live` streams at once, or `per_s` arrivals a second."""

    target: Target
    live: int
    per_s: float | None
    seconds: float
    stop_after_s: float
    chunk_ms: int
    speed: float | None
    seed: int

    def share(self, client: int, clients: int) -> FleetSettings:
        """Return the part of one of several load processes."""
        if self.per_s is not None:
            arrivals: Concurrency | Poisson = Poisson(self.per_s / clients, MOST_LIVE // clients)
        else:
            streams = self.live // clients + (client < self.live % clients)
            arrivals = Concurrency(streams, min(LONGEST_RAMP_S, RAMP_S_PER_STREAM * self.live))
        return FleetSettings(
            target=self.target,
            arrivals=arrivals,
            streams=MOST_STREAMS,
            stop_after_s=self.stop_after_s,
            start_for_s=self.seconds,
            keep_load=True,
            chunk_ms=self.chunk_ms,
            speed=self.speed,
            seed=self.seed + 1_000_003 * client,
        )


class LoadProcesses:
    """As many load processes as were needed so far, started when they are; a context that ends them."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._clips = list(clips)
        self._workers: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.stop(GRACE_S if kind is None else 0.0)

    def play(self, settings: Sequence[FleetSettings], waiting: Callable[[], None] = lambda: None) -> list[FleetResult]:
        """Play a fleet in each of several processes at once; `waiting` is called now and then meanwhile."""
        while len(self._workers) < len(settings):
            self._workers.append(Worker(SERVICE, (self._clips,), Tracer(), lane=f"client {len(self._workers)}"))
        with ThreadPoolExecutor(len(settings)) as threads:
            calls = [
                threads.submit(worker.call, "run", part) for worker, part in zip(self._workers, settings, strict=False)
            ]
            try:
                while not all(call.done() for call in calls):
                    waiting()
                    wait(calls, timeout=POLL_S)
            except KeyboardInterrupt as error:
                raise InterruptedLoad(self._cut_off(calls)) from error
            except BaseException:
                for worker in self._workers:
                    worker.stop(0.0)
                self._workers.clear()
                raise
            return [call.result() for call in calls]

    def _cut_off(self, calls: Sequence[Future[FleetResult]]) -> list[FleetResult]:
        """Return what the load processes have played so far, and end them."""
        if sys.platform != "win32":
            for worker, call in zip(self._workers, calls, strict=False):
                if not call.done():
                    os.kill(worker.pid, signal.SIGTERM)
            wait(calls, timeout=GRACE_S)
        for worker in self._workers:
            worker.stop(0.0)
        self._workers.clear()
        wait(calls)
        return [call.result() for call in calls if call.exception() is None]
