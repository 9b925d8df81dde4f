"""One accelerator: what it is, what it can do at most, and the time of work on it by its own clock."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.fastconformer.tuning import in_force

if TYPE_CHECKING:
    from collections.abc import Callable

WARM_UPS = 3
COPIED_BYTES = 2 << 30
SIDE = 8192


def environment() -> dict[str, object]:
    """Return the versions, the card, and the settings of torch that hold for the process."""
    card = torch.cuda.get_device_properties(0)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "card": card.name,
        "memory_gib": round(card.total_memory / 2**30, 1),
        "cudnn_benchmark": in_force().cudnn_benchmark,
        "expandable_segments": in_force().expandable_segments,
    }


def ceilings() -> dict[str, float]:
    """Return what the card does at most: a large copy, counting reads and writes, and a large product."""
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device="cuda").random_(0, 255)
    goal = torch.empty_like(source)
    factor = torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16)
    return {
        "copy_TB_s": 2 * COPIED_BYTES / timed(lambda: goal.copy_(source)) / 1e12,
        "bf16_TFLOP_s": 2 * SIDE**3 / timed(lambda: factor @ factor) / 1e12,
    }


def timed(work: Callable[[], object], count: int = 20) -> float:
    """Return the median seconds of `work` on the device."""
    for _ in range(WARM_UPS):
        work()
    times = []
    for _ in range(count):
        begin, end = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch says nothing of its types
            for _ in range(2)
        )
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1000)
    return float(np.median(times))
