"""What this machine can do at most, measured for about a second: products of matrices by type, copies, empty calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from auricle.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

SIZE = {"cpu": 1024, "accelerator": 8192}
"""Rows and columns of the matrices."""
COPIED_BYTES = {"cpu": 128 << 20, "accelerator": 1 << 30}
"""Larger than caches."""
MEASURED_S = 0.25
EMPTY_CALLS = 500
S_PER_US = 1e-6


def calibrate(device: str, numbers: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a `calibrated` event for a device and for factors of these types, with torch's threads.

    The best of several tries counts, of torch's own product and, on a CPU, of packed weights. A type that cannot be
    multiplied here is left out. Matrices of 1,024 rows on a CPU, 8,192 on an accelerator.
    """
    import torch

    kind = torch.device(device).type
    copied_bytes = COPIED_BYTES["cpu" if kind == "cpu" else "accelerator"]
    with torch.inference_mode():
        rates = {number: _rate(kind, number) for number in sorted(set(numbers))}
        copied = torch.ones(copied_bytes // 4, device=kind)
        target = torch.empty_like(copied)
        copy_s = _best_s(kind, lambda: target.copy_(copied))
        return {
            "device": device,
            "threads": torch.get_num_threads(),
            "matmul": {number: rate for number, rate in rates.items() if rate is not None},
            "copy_bytes_per_s": 2 * copied_bytes / copy_s,
            "call_s": _call_s(kind),
        }


def _rate(kind: str, number: str) -> float | None:
    """Return floating-point operations per second, None where no product of this type works."""
    size = SIZE["cpu" if kind == "cpu" else "accelerator"]
    times_s = []
    for make in _products(kind, number):
        try:
            times_s.append(_best_s(kind, make(size)))
        except (RuntimeError, UnsupportedError):  # torch has no such product for this type, or on this device
            continue
    return 2 * size**3 / min(times_s) if times_s else None


def _products(kind: str, number: str) -> list[Callable[[int], Callable[[], object]]]:
    import torch

    from auricle.tensors.packed import PackedLinear, QuantisedLinear

    def own(size: int) -> Callable[[], object]:
        a, b = _matrix(size, kind, number), _matrix(size, kind, number)
        if number in {"int8", "uint8"}:
            return lambda: torch._int_mm(a, b)  # noqa: SLF001  there is no other of whole numbers
        return lambda: torch.mm(a, b)

    def packed(size: int) -> Callable[[], object]:
        a = _matrix(size, kind, "float32" if number in {"int8", "uint8"} else number)
        layer = (QuantisedLinear if number in {"int8", "uint8"} else PackedLinear)(a)
        return lambda: layer(a)

    return [own, packed] if kind == "cpu" else [own]


def _matrix(size: int, kind: str, number: str) -> Tensor:
    import torch

    if number in {"int8", "uint8"}:
        return torch.ones(size, size, dtype=torch.int8, device=kind)
    return torch.rand(size, size, device=kind).to(getattr(torch, number))


def _best_s(kind: str, work: Callable[[], object]) -> float:
    """Return the shortest of many tries, each waited for."""
    import torch

    wait = int if kind == "cpu" else torch.accelerator.synchronize
    times_s: list[float] = []
    work()
    wait()
    until = time.perf_counter() + MEASURED_S
    while not times_s or time.perf_counter() < until:
        start = time.perf_counter()
        work()
        wait()
        times_s.append(time.perf_counter() - start)
    return min(times_s)


def _call_s(kind: str) -> float:
    """Return the mean time of adding two tensors of one number under the profiler."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    one = torch.ones(1, device=kind)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, profile_memory=True) as watched:
        for _ in range(EMPTY_CALLS):
            torch.add(one, one)
    added = [event.cpu_time_total for event in watched.events() if event.name == "aten::add"]
    return float(sum(added) / len(added) * S_PER_US)
