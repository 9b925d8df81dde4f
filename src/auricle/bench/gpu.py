"""What NVML tells of the NVIDIA GPUs of this machine: their facts once, and readings while something runs.

NVML numbers GPUs by their place on the bus and knows nothing of CUDA_VISIBLE_DEVICES; memory, utilisation and power are
those of the whole GPU, whoever uses it. What a GPU or its driver does not report is None.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pynvml

from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MILLIWATTS_PER_WATT = 1000


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """What does not change during a run; `compute_capability` is written as in `9.0`."""

    index: int
    name: str | None
    compute_capability: str | None
    vram_bytes: int | None
    power_limit_w: float | None
    max_sm_clock_mhz: int | None
    persistence_mode: bool | None
    mig_mode: bool | None


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One reading; utilisation is the share of time, in percent, in which some kernel ran."""

    index: int
    utilisation_percent: int | None
    memory_used_bytes: int | None
    power_w: float | None
    sm_clock_mhz: int | None
    temperature_c: int | None


class Nvml:
    """An open NVML session; where NVML cannot be used, `unavailable` says why and there are no GPUs."""

    def __init__(self, unavailable: str | None) -> None:
        self.unavailable = unavailable
        self._handles: list[Any] = []
        if unavailable is None:
            self._handles = [
                _ask(pynvml.nvmlDeviceGetHandleByIndex, index) for index in range(_ask(pynvml.nvmlDeviceGetCount) or 0)
            ]

    def __len__(self) -> int:
        return len(self._handles)

    def driver_version(self) -> str | None:
        """Version of the kernel driver, such as `580.95.05`."""
        return None if self.unavailable else _ask(pynvml.nvmlSystemGetDriverVersion)

    def cuda_driver_version(self) -> str | None:
        """Newest CUDA version that the driver runs, such as `13.0`; what is installed may be older."""
        version = None if self.unavailable else _ask(pynvml.nvmlSystemGetCudaDriverVersion)
        return None if version is None else f"{version // 1000}.{version % 1000 // 10}"

    def facts(self) -> list[GpuFacts]:
        """Return the facts of every GPU, in NVML's order."""
        found = []
        for index, handle in enumerate(self._handles):
            capability = _ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
            memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
            persistence = _ask(pynvml.nvmlDeviceGetPersistenceMode, handle)
            mig = _ask(pynvml.nvmlDeviceGetMigMode, handle)
            found.append(
                GpuFacts(
                    index=index,
                    name=_ask(pynvml.nvmlDeviceGetName, handle),
                    compute_capability=None if capability is None else "{}.{}".format(*capability),
                    vram_bytes=None if memory is None else int(memory.total),
                    power_limit_w=_watts(_ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
                    max_sm_clock_mhz=_ask(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
                    persistence_mode=None if persistence is None else bool(persistence),
                    mig_mode=None if mig is None else bool(mig[0]),
                )
            )
        return found

    def read(self, index: int) -> GpuReading:
        """Read one GPU now; raises UsageError when there is no GPU of that number."""
        if not 0 <= index < len(self):
            raise UsageError("no such GPU", index, self.unavailable or f"NVML knows {len(self)} GPUs, numbered from 0")
        handle = self._handles[index]
        utilisation = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
        memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
        return GpuReading(
            index=index,
            utilisation_percent=None if utilisation is None else int(utilisation.gpu),
            memory_used_bytes=None if memory is None else int(memory.used),
            power_w=_watts(_ask(pynvml.nvmlDeviceGetPowerUsage, handle)),
            sm_clock_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
            temperature_c=_ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        )


@contextmanager
def session() -> Iterator[Nvml]:
    """Hold NVML open for the body; hold one session over many readings, because opening is slow."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        unavailable: str | None = str(error)
    else:
        unavailable = None
    try:
        yield Nvml(unavailable)
    finally:
        if unavailable is None:
            pynvml.nvmlShutdown()


def gpus() -> list[GpuFacts]:
    """Return the facts of every GPU; empty where NVML cannot be used (`unavailable_reason` says why)."""
    with session() as nvml:
        return nvml.facts()


def read(index: int) -> GpuReading:
    """Read one GPU once; raises UsageError when there is no GPU of that number."""
    with session() as nvml:
        return nvml.read(index)


def unavailable_reason() -> str | None:
    """Say why NVML cannot be used here, or None when it can."""
    with session() as nvml:
        return nvml.unavailable


def _ask(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call NVML and give None for what this GPU or driver does not report."""
    try:
        return function(*arguments)
    except pynvml.NVMLError:
        return None


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / MILLIWATTS_PER_WATT
