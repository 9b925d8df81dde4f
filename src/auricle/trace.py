"""Stage spans: what an engine did, when and for how long, recorded into the tracer it was loaded with."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Span:
    """One stage on one lane (worker or device): `start_s` by the monotonic clock of the machine, both in seconds."""

    stage: str
    start_s: float
    duration_s: float
    lane: str = "main"


class Tracer:
    """Collects spans from any thread; those of one lane do not overlap, so their sum reconciles with a total."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._lock = threading.Lock()

    @contextmanager
    def span(self, stage: str, lane: str = "main") -> Iterator[None]:
        """Time the body as `stage`, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.extend([Span(stage, start, time.perf_counter() - start, lane)])

    def extend(self, spans: Iterable[Span]) -> None:
        """Add spans measured elsewhere, such as in a worker process."""
        with self._lock:
            self._spans.extend(spans)

    def drain(self) -> list[Span]:
        """Return the spans collected so far and forget them."""
        with self._lock:
            spans, self._spans = self._spans, []
        return spans
