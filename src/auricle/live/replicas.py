"""Several engine processes as one: a stream or a file goes to the replica with the most room, and stays there."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from auricle.errors import EngineAbsentError, EngineCrashedError
from auricle.live.admission import PLACES_TAKEN, Load, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.audio import Audio
    from auricle.engines.contract import ModelInfo, Recognizer, TranscribeOptions
    from auricle.live.engine import Deliver, LiveEngine
    from auricle.live.stream import LiveStream
    from auricle.transcript import Transcript


@dataclass(slots=True, eq=False)
class _Replica:
    """An engine, the load that it told last, and how many streams were sent there since."""

    engine: LiveEngine
    told: Load | None = None
    since: int = 0

    @property
    def fullness(self) -> tuple[float, int]:
        """The duty to be expected with one stream more, and the streams, both with those that it has not told yet."""
        load = self.engine.load()
        if load is not self.told:
            self.told, self.since = load, 0
        streams = load.streams + self.since
        return load.duty_with_one_more * (streams + 1) / (load.streams + 1), streams


class ReplicatedEngine:
    """Steps each stream on one of several engines; one that ends takes only its own streams with it."""

    def __init__(self, engines: Sequence[LiveEngine]) -> None:
        self.engines = tuple(engines)
        self._replicas = [_Replica(engine) for engine in engines]
        self._engine_of: dict[LiveStream, LiveEngine] = {}

    @property
    def alive(self) -> bool:
        """Whether streams can be stepped somewhere."""
        return any(engine.alive for engine in self.engines)

    def start(self, deliver: Deliver) -> None:
        """Start all engines."""
        for engine in self.engines:
            engine.start(deliver)

    async def add(self, stream: LiveStream) -> None:
        """Open a stream where there is most room, and where that is refused or just ended, at the next.

        Raises RefusedError when all engines that are there refuse, EngineCrashedError when none is there.
        """
        refusals: list[RefusedError] = []
        crash = EngineCrashedError("no engine process is there", None, "try again in a few seconds")
        there = [replica for replica in self._replicas if replica.engine.alive]
        for replica in sorted(there, key=lambda one: one.fullness):
            self._engine_of[stream] = replica.engine
            replica.since += 1
            try:
                await replica.engine.add(stream)
            except RefusedError as refusal:
                replica.since -= 1
                refusals.append(refusal)
            except EngineCrashedError as error:
                crash = error
            except BaseException:
                del self._engine_of[stream]
                raise
            else:
                return
        self._engine_of.pop(stream, None)
        if not refusals:
            raise crash
        raise self._refusal(refusals)

    def ready(self, stream: LiveStream) -> None:
        """Tell the stream's engine that its buffer became ready."""
        if (engine := self._engine_of.get(stream)) is not None:
            engine.ready(stream)

    def remove(self, stream: LiveStream) -> None:
        """Give the stream's place back."""
        if (engine := self._engine_of.pop(stream, None)) is not None:
            engine.remove(stream)

    def load(self) -> Load:
        """Return all streams, the mean duty of the engines that are there, and that of the one with the most room."""
        loads = [engine.load() for engine in self.engines if engine.alive]
        if not loads:
            return Load(0, 0.0, 0.0)
        streams = sum(load.streams for load in loads)
        duty = sum(load.duty for load in loads) / len(loads)
        return Load(streams, duty, min(load.duty_with_one_more for load in loads))

    def capacity(self, chunk_ms: int) -> int | None:
        """Return how many streams of this chunk the engines that are there serve; None while one does not know."""
        known = [engine.capacity(chunk_ms) for engine in self.engines if engine.alive]
        found = [count for count in known if count is not None]
        return sum(found) if found and len(found) == len(known) else None

    async def stop(self) -> None:
        """End, as each engine does."""
        for engine in self.engines:
            await engine.stop()

    def _refusal(self, refusals: Sequence[RefusedError]) -> RefusedError:
        """Return one refusal for all: the sum of the places, where there is none left, else the bound of each."""
        by_duty = [refusal for refusal in refusals if refusal.what != PLACES_TAKEN]
        chosen = (by_duty or refusals)[0]
        limit = chosen.limit if by_duty else sum(refusal.limit for refusal in refusals)
        load = Load(
            sum(refusal.load.streams for refusal in refusals),
            sum(refusal.load.duty for refusal in refusals) / len(refusals),
            min(refusal.load.duty_with_one_more for refusal in by_duty or refusals),
        )
        return RefusedError(chosen.what, limit, load, chosen.retry_after_s)


class ReplicatedRecognizer:
    """Recognises each batch of files on the replica with the fewest batches, of equals the one that is least busy."""

    def __init__(self, recognizers: Sequence[Recognizer], engine: ReplicatedEngine) -> None:
        self._recognizers = tuple(recognizers)
        self._engine = engine
        self._running = [0] * len(recognizers)
        self._lock = threading.Lock()

    @property
    def info(self) -> ModelInfo:
        """What is loaded in each; places for live streams are those of all together."""
        infos = [recognizer.info for recognizer in self._recognizers]
        slots = sum(info.streaming.slots for info in infos if info.streaming is not None)
        first = infos[0]
        return first if first.streaming is None else replace(first, streaming=replace(first.streaming, slots=slots))

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Recognise recordings on one replica, one that is there; raises what its recogniser raises."""
        tried: set[int] = set()
        while True:
            number = self._begin(tried)
            try:
                return self._recognizers[number].transcribe(batch, options, cancel)
            except EngineAbsentError:
                tried.add(number)
                if len(tried) == len(self._recognizers):
                    raise
            finally:
                with self._lock:
                    self._running[number] -= 1

    def unload(self) -> None:
        """Unload all."""
        for recognizer in self._recognizers:
            recognizer.unload()

    def _begin(self, tried: set[int]) -> int:
        duties = [engine.load().duty for engine in self._engine.engines]
        with self._lock:
            left = [number for number in range(len(self._recognizers)) if number not in tried]
            chosen = min(left, key=lambda number: (self._running[number], duties[number], number))
            self._running[chosen] += 1
        return chosen
