"""Where the time of a recognition goes: stages with what they worked on, so that a rate stands beside each time."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from auricle.trace import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auricle.trace import Tracer

STAGES = ("mel", "stem", "encoder", "prefill", "kv copy", "decode", "detokenise")
UNITS = {"mel": "frames", "stem": "frames", "encoder": "tokens", "prefill": "tokens", "decode": "tokens"}
_MS = 1000


@dataclass(slots=True)
class StageTotal:
    """A stage's time, how many units it worked on, and how many bytes it moved."""

    seconds: float = 0.0
    units: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Meter:
    """Times stages into a tracer and into totals; `contexts` has decoding's time and tokens by how far it looked back.

    On a device a stage ends when the device has finished it. `steps` counts decoding steps by how they ran.
    """

    tracer: Tracer
    device: torch.device
    totals: dict[str, StageTotal] = field(default_factory=dict)
    contexts: dict[int, StageTotal] = field(default_factory=dict)
    steps: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def stage(self, name: str, units: int = 0) -> Iterator[StageTotal]:
        """Time the body; what it is given takes more units and bytes."""
        total = self.totals.setdefault(name, StageTotal())
        start = time.perf_counter()
        try:
            yield total
        finally:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds = time.perf_counter() - start
            total.seconds += seconds
            total.units += units
            self.tracer.extend([Span(name, start, seconds)])

    def decoded(self, bound: int, seconds: float, tokens: int) -> None:
        """Count a step of decoding that looked at `bound` positions."""
        total = self.contexts.setdefault(bound, StageTotal())
        total.seconds += seconds
        total.units += tokens

    def table(self) -> list[dict[str, object]]:
        """Return a row for each stage: milliseconds, share of all stages, units, milliseconds for one, megabytes."""
        whole = sum(total.seconds for total in self.totals.values())
        return [
            {
                "stage": name,
                "ms": _MS * total.seconds,
                "share": total.seconds / whole if whole else 0.0,
                "units": total.units,
                "unit": UNITS.get(name, ""),
                "ms_per_unit": _MS * total.seconds / total.units if total.units else None,
                "mb": total.bytes / 1e6 if total.bytes else None,
            }
            for name in STAGES
            if (total := self.totals.get(name)) is not None
        ]

    def by_context(self) -> list[dict[str, float]]:
        """Return milliseconds for a step's token by the positions that decoding looked at."""
        return [
            {"positions": bound, "tokens": total.units, "ms_per_token": _MS * total.seconds / max(1, total.units)}
            for bound, total in sorted(self.contexts.items())
        ]
