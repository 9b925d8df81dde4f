"""An engine for tests, installed as third parties install theirs: the null engine, whose steps fail when audio asks.

A chunk of one constant value asks for the fault of that value. A step that fails with the stream that asked alone is
followed by one that fails too, so that a fault always hits streams which asked for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auricle.engines.contract import StreamFailure
from auricle.engines.null import NullEngine, NullRecognizer
from auricle.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.engines.contract import Feed, LoadOptions, ModelInfo
    from auricle.trace import Tracer
    from auricle.transcript import Hypothesis

STREAM_FAILS, STEP_FAILS, DEFECT, CLOSE_FAILS = 0.25, 0.5, 0.75, 0.9
CLOSE_TO = 1e-3


class PlantedRecognizer(NullRecognizer):
    def __init__(self, info: ModelInfo, tracer: Tracer) -> None:
        super().__init__(info, tracer)
        self._stuck: set[int] = set()
        self._owed = False

    def close(self, stream: int) -> None:
        super().close(stream)
        if stream in self._stuck:
            raise ZeroDivisionError("planted where streams are closed")

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        asked = [feed for feed in ready if _asks(feed, STEP_FAILS)]
        if asked or self._owed:
            self._owed = len(asked) == len(ready)
            raise EngineError(f"the device is lost to {len(ready)} streams", None, "connect again")
        if any(_asks(feed, DEFECT) for feed in ready):
            raise ZeroDivisionError("planted")
        self._stuck.update(feed.stream for feed in ready if _asks(feed, CLOSE_FAILS))
        heard = super().step(ready)
        return [
            self._failed(feed) if _asks(feed, STREAM_FAILS) else one for feed, one in zip(ready, heard, strict=True)
        ]

    def _failed(self, feed: Feed) -> StreamFailure:
        self.close(feed.stream)
        return StreamFailure(feed.stream, EngineError("this stream cannot be decoded", None, "connect again"))


class PlantedEngine(NullEngine):
    name = "planted"

    def load(self, options: LoadOptions, tracer: Tracer) -> PlantedRecognizer:
        return PlantedRecognizer(super().load(options, tracer).info, tracer)


def _asks(feed: Feed, value: float) -> bool:
    return len(feed.samples) > 1 and bool(np.all(np.abs(feed.samples - value) < CLOSE_TO))


ENGINE = PlantedEngine()
