"""Many streams from one event loop, and the proof that the client was not what was measured.

Streams start at random phases of the chunk, so that they do not arrive together. Settings and results can be pickled: a
load that one process cannot carry is shared out over several, each with its own seed.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auricle.client.pacing import CLOCK, Schedule
from auricle.client.stream import new_record, run
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from auricle.client.clips import Clip
    from auricle.client.dialects.base import Target
    from auricle.client.events import StreamRecord
    from auricle.client.pacing import Clock

MS_PER_S = 1000
PAUSE_S = 1.0
# Observations without which no such percentile is printed: 99 % confidence that none lies beyond it.
ENOUGH_FOR_P99 = 459


@dataclass(frozen=True, slots=True)
class Concurrency:
    """So many streams at all times, a new one whenever one ends; the first ones start within `ramp_s` seconds.

    A stream that was refused or failed is followed by the next after the time the server asked for, else a second.
    """

    streams: int
    ramp_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Poisson:
    """Streams arrive `per_s` times a second on average, whatever becomes of them; no more than `most` are live."""

    per_s: float
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """What a fleet does: at most `streams` in all, none started after `start_for_s`, all cut off after `stop_after_s`.

    With `keep_load` streams go on being started after `start_for_s`, so that those before are measured under full load
    to their end; they are not counted, and cut off when the others have ended.
    The seed decides phases, arrivals and the order of the recordings, each of which is played once before one repeats.
    """

    target: Target
    arrivals: Concurrency | Poisson
    streams: int
    stop_after_s: float
    start_for_s: float | None = None
    keep_load: bool = False
    chunk_ms: int = 100
    speed: float | None = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Certificate:
    """How well the client kept its own schedule: how late chunks were sent, and the CPU it took.

    Chunks that the server held back by not reading are counted in `held` and not in the lateness; the 99th percentile
    is None with too few chunks for it. `cpu` is CPU time over wall time of this process, 1 being one core.
    """

    chunks: int
    held: int
    late_p50_ms: float | None
    late_p99_ms: float | None
    late_max_ms: float | None
    cpu: float
    wall_s: float
    most_live: int
    loop: str


@dataclass(frozen=True, slots=True)
class FleetResult:
    """The records of all streams that were started; `skipped` arrivals found too many others live."""

    records: list[StreamRecord]
    certificate: Certificate
    skipped: int = 0


def ignore(stop: Callable[[], None]) -> None:
    """Let the streams play to their end."""
    del stop


async def run_fleet(
    settings: FleetSettings,
    clips: Sequence[Clip],
    clock: Clock = CLOCK,
    started: Callable[[Callable[[], None]], None] = ignore,
) -> FleetResult:
    """Run the streams and return when all have ended; raises UsageError for settings that cannot be followed.

    `started` is given a function that cuts all streams off at once, to be called in this event loop.
    """
    if not clips:
        raise UsageError("there is no recording to play")
    fleet = _Fleet(settings, clips, clock)
    cpu_s, began_s = time.process_time(), clock()
    started(fleet.stop)
    await fleet.run()
    wall_s = clock() - began_s
    loop = type(asyncio.get_running_loop()).__module__.split(".")[0]
    certificate = _certify(fleet.records, (time.process_time() - cpu_s) / wall_s, wall_s, fleet.most_live, loop)
    return FleetResult(fleet.records, certificate, fleet.skipped)


class _Fleet:
    def __init__(self, settings: FleetSettings, clips: Sequence[Clip], clock: Clock) -> None:
        self.records: list[StreamRecord] = []
        self.most_live = 0
        self.skipped = 0
        self._settings = settings
        self._clips = clips
        self._clock = clock
        self._began_s = clock()
        self._order: list[Clip] = []
        self._live = 0
        self._counted = 0
        self._ended = asyncio.Event()
        self._playing: set[asyncio.Task[StreamRecord]] = set()
        self._limit = asyncio.timeout(settings.stop_after_s)

    def stop(self) -> None:
        """Cut all streams off."""
        self._limit.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        arrivals = self._settings.arrivals
        try:
            async with self._limit, asyncio.TaskGroup() as group:
                load = (
                    [group.create_task(self._arrive(arrivals, group))]
                    if isinstance(arrivals, Poisson)
                    else [
                        group.create_task(self._keep_busy(self._random("place", place).uniform(0, arrivals.ramp_s)))
                        for place in range(min(arrivals.streams, self._settings.streams))
                    ]
                )
                if self._settings.keep_load:
                    await self._all_counted()
                    for task in (*load, *self._playing):
                        task.cancel()
        except TimeoutError:
            return  # the records of what was cut off say so
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _all_counted(self) -> None:
        """Wait until no stream is started any more that counts, and those that do have ended."""
        await asyncio.sleep(self._settings.start_for_s or 0.0)
        while self._counted:
            self._ended.clear()
            await self._ended.wait()

    async def _keep_busy(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        while not self._is_over():
            record = await self._play()
            if record.outcome != "complete" and not self._is_over():
                await asyncio.sleep(PAUSE_S if record.retry_after_s is None else record.retry_after_s)

    async def _arrive(self, arrivals: Poisson, group: asyncio.TaskGroup) -> None:
        gaps = self._random("arrivals", 0)
        due_s = self._clock()
        for _ in range(self._settings.streams):
            due_s += gaps.expovariate(arrivals.per_s)
            await asyncio.sleep(max(0.0, due_s - self._clock()))
            if self._is_over():
                return
            if self._live < arrivals.most:
                task = group.create_task(self._play())
                self._playing.add(task)
                task.add_done_callback(self._playing.discard)
                await asyncio.sleep(0)  # so that it is counted
            else:
                self.skipped += not self._is_late()

    def _is_over(self) -> bool:
        """Tell whether no more streams are to be started."""
        settings = self._settings
        return (self._is_late() and not settings.keep_load) or len(self.records) >= settings.streams

    def _is_late(self) -> bool:
        start_for_s = self._settings.start_for_s
        return start_for_s is not None and self._clock() - self._began_s >= start_for_s

    async def _play(self) -> StreamRecord:
        settings, number, clip = self._settings, len(self.records), self._next_clip()
        chunk_s = settings.chunk_ms / MS_PER_S
        schedule = Schedule(clip.samples, clip.rate, round(chunk_s * clip.rate), settings.speed)
        phase_s = self._random("phase", number).uniform(0, chunk_s / (settings.speed or 1.0))
        record = new_record(settings.target, clip, schedule, number)
        record.counted = not self._is_late()
        self.records.append(record)
        self._counted += record.counted
        self._live += 1
        self.most_live = max(self.most_live, self._live)
        try:
            await run(settings.target, clip, schedule, record, phase_s, clock=self._clock)
        finally:
            self._live -= 1
            self._counted -= record.counted
            self._ended.set()
        return record

    def _next_clip(self) -> Clip:
        if not self._order:
            self._order = list(self._clips)
            self._random("order", len(self.records)).shuffle(self._order)
        return self._order.pop()

    def _random(self, purpose: str, number: int) -> random.Random:
        return random.Random(f"{self._settings.seed} {purpose} {number}")  # noqa: S311  a load is no secret


def _certify(records: Sequence[StreamRecord], cpu: float, wall_s: float, most_live: int, loop: str) -> Certificate:
    late = [_lateness_ms(record) for record in records]
    late_ms = np.concatenate([np.empty(0), *late])
    return Certificate(
        chunks=sum(len(record.sent_s) for record in records),
        held=sum(len(record.held) for record in records),
        late_p50_ms=float(np.median(late_ms)) if len(late_ms) else None,
        late_p99_ms=float(np.percentile(late_ms, 99)) if len(late_ms) >= ENOUGH_FOR_P99 else None,
        late_max_ms=float(late_ms.max()) if len(late_ms) else None,
        cpu=cpu,
        wall_s=wall_s,
        most_live=most_live,
        loop=loop,
    )


def _lateness_ms(record: StreamRecord) -> NDArray[np.float64]:
    late = (np.asarray(record.sent_s) - np.asarray(record.due_s)) * MS_PER_S
    return np.delete(late, np.asarray(record.held, np.intp))
