"""Memory, CPU time and GPU readings of the measured processes, sampled by a thread while the measurement runs.

The measured processes are this one and its descendants, because recognisers run in worker processes. Two memory figures
are given, and they answer different questions:

    rss    the sum over the processes of the resident set size. Pages that processes share, such as libraries and
           copy-on-write model weights, count once in each process, so the sum is an upper bound of the memory taken.
    pss    the sum of the proportional set size (Linux only): a shared page counts as its share, so the sum is the
           memory taken. The kernel walks the page tables for it, about 2 ms per process and GiB, so it is read once
           per second.

A peak is the largest sample: one shorter than the period can be missed. New descendants are looked for once per second
and at every `mark()`. Times are readings of `time.perf_counter()`, the clock of `auricle.trace`.
"""

from __future__ import annotations

import math
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psutil

from auricle.bench import gpu
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future
    from types import TracebackType

In = TypeVar("In")
Out = TypeVar("Out")
SURVEY_PERIOD_S = 1.0
"""How often descendants are looked for and the proportional set size is read."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The state at `at_s`, of this process (`own`) and of the other measured ones (`children`) apart.

    CPU time is that since the first sample, in steps of the system's clock tick (10 ms on Linux), also of processes
    that have ended since; a process that came later counts from its birth. The proportional set size is None where it
    was not read. `unreadable` counts processes that the system does not let us read.
    """

    at_s: float
    rss_own_bytes: int
    rss_children_bytes: int
    pss_own_bytes: int | None
    pss_children_bytes: int | None
    cpu_own_s: float
    cpu_children_s: float
    children: int
    unreadable: int
    gpus: tuple[gpu.GpuReading, ...]

    @property
    def rss_bytes(self) -> int:
        """Sum over all measured processes."""
        return self.rss_own_bytes + self.rss_children_bytes

    @property
    def pss_bytes(self) -> int | None:
        """Sum over all measured processes, None where that of one is not known."""
        if self.pss_own_bytes is None or self.pss_children_bytes is None:
            return None
        return self.pss_own_bytes + self.pss_children_bytes

    def fields(self) -> dict[str, Any]:
        """Return what an event of kind `sample` holds beside its time."""
        fields = asdict(self)
        del fields["at_s"]
        return fields


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """One GPU over a window: that of the whole GPU, whoever used it."""

    index: int
    mean_utilisation_percent: float | None
    peak_memory_used_bytes: int | None
    mean_power_w: float | None
    peak_power_w: float | None
    mean_sm_clock_mhz: float | None
    min_sm_clock_mhz: int | None
    peak_temperature_c: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """A window in figures; CPU time divided by `duration_s` is the number of cores kept busy."""

    samples: int
    duration_s: float
    peak_rss_bytes: int
    peak_rss_own_bytes: int
    peak_rss_children_bytes: int
    mean_rss_bytes: float
    peak_pss_bytes: int | None
    peak_pss_own_bytes: int | None
    peak_pss_children_bytes: int | None
    cpu_own_s: float
    cpu_children_s: float
    unreadable: int
    gpus: tuple[GpuUsage, ...]


class Sampler:
    """Samples every `period_s` seconds from entering to leaving the context.

    `pids` names the processes that, with their descendants, are measured beside this one; without it, the descendants
    of this one are. It is called on the sampler's thread; what it raises is raised again when the context is left.
    """

    def __init__(self, pids: Callable[[], Sequence[int]] | None = None, period_s: float = 0.1) -> None:
        if not period_s > 0:
            raise UsageError("a sampling period must be above zero", period_s)
        self._pids = pids or (lambda: [os.getpid()])
        self._period_s = period_s
        self._own = psutil.Process()
        self._children: list[psutil.Process] = []
        self._cpu_s: dict[psutil.Process, float] = {}
        self._cpu_before_s = (0.0, 0.0)
        self._next_survey_s = -math.inf
        self._samples: list[Sample] = []
        self._busy_s = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._stack: ExitStack
        self._nvml: gpu.Nvml
        self._loop: Future[None]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._nvml = stack.enter_context(gpu.session())
            self.mark()
            executor = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="auricle-sampler"))
            self._loop = executor.submit(self._run)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with self._stack:
            if error is None:
                self._loop.result()
                self.mark()

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples so far, in order of time."""
        with self._lock:
            return tuple(self._samples)

    @property
    def overhead_cores(self) -> float:
        """CPU time of the sampling thread per time so far; 0.01 means one per cent of one core."""
        samples = self.samples
        duration_s = samples[-1].at_s - samples[0].at_s
        return self._busy_s / duration_s if duration_s else 0.0

    def mark(self) -> float:
        """Take a sample now, descendants looked for anew, and return its time, to be an end of a window."""
        with self._lock:
            self._next_survey_s = -math.inf
            return self._take()

    def window(self, start_s: float = -math.inf, end_s: float = math.inf) -> Usage:
        """Sum up the samples from `start_s` to `end_s`, both included; raises UsageError when there are none."""
        samples = [sample for sample in self.samples if start_s <= sample.at_s <= end_s]
        if not samples:
            raise UsageError("no sample lies in the window", f"{start_s} to {end_s} s", "mark() both ends of a window")
        first, last = samples[0], samples[-1]
        return Usage(
            samples=len(samples),
            duration_s=last.at_s - first.at_s,
            peak_rss_bytes=max(sample.rss_bytes for sample in samples),
            peak_rss_own_bytes=max(sample.rss_own_bytes for sample in samples),
            peak_rss_children_bytes=max(sample.rss_children_bytes for sample in samples),
            mean_rss_bytes=fmean(sample.rss_bytes for sample in samples),
            peak_pss_bytes=_apply(max, (sample.pss_bytes for sample in samples)),
            peak_pss_own_bytes=_apply(max, (sample.pss_own_bytes for sample in samples)),
            peak_pss_children_bytes=_apply(max, (sample.pss_children_bytes for sample in samples)),
            cpu_own_s=last.cpu_own_s - first.cpu_own_s,
            cpu_children_s=last.cpu_children_s - first.cpu_children_s,
            unreadable=max(sample.unreadable for sample in samples),
            gpus=tuple(_gpu_usage(readings) for readings in zip(*(sample.gpus for sample in samples), strict=True)),
        )

    def _run(self) -> None:
        due_s = time.perf_counter()
        while True:
            due_s = max(due_s + self._period_s, time.perf_counter())
            if self._stop.wait(due_s - time.perf_counter()):
                return
            with self._lock:
                self._take()
            self._busy_s = time.thread_time()

    def _take(self) -> float:
        at_s = time.perf_counter()
        is_survey = at_s >= self._next_survey_s
        if is_survey:
            self._children = self._find_children()
            self._next_survey_s = at_s + SURVEY_PERIOD_S
        own_bytes = self._measure(self._own) or 0
        sizes = [self._measure(child) for child in self._children]
        cpu_own_s = self._cpu_s[self._own]
        cpu_children_s = sum(self._cpu_s.values()) - cpu_own_s
        if not self._samples:
            self._cpu_before_s = (cpu_own_s, cpu_children_s)
        self._samples.append(
            Sample(
                at_s=at_s,
                rss_own_bytes=own_bytes,
                rss_children_bytes=sum(size or 0 for size in sizes),
                pss_own_bytes=_pss_bytes([self._own]) if is_survey else None,
                pss_children_bytes=_pss_bytes(self._children) if is_survey else None,
                cpu_own_s=cpu_own_s - self._cpu_before_s[0],
                cpu_children_s=cpu_children_s - self._cpu_before_s[1],
                children=sum(size != 0 for size in sizes),
                unreadable=sizes.count(None),
                gpus=tuple(self._nvml.read(index) for index in range(len(self._nvml))),
            )
        )
        return at_s

    def _find_children(self) -> list[psutil.Process]:
        found: dict[psutil.Process, None] = {}
        for pid in self._pids():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                found |= dict.fromkeys([process, *process.children(recursive=True)])
        return [process for process in found if process != self._own]

    def _measure(self, process: psutil.Process) -> int | None:
        """Note the CPU time and return the resident set size: 0 of an ended process, None of one not to be read."""
        try:
            with process.oneshot():
                rss_bytes = process.memory_info().rss
                times = process.cpu_times()
        except psutil.NoSuchProcess:
            return 0
        except psutil.AccessDenied:
            return None
        self._cpu_s[process] = times.user + times.system
        return rss_bytes


def _pss_bytes(processes: Iterable[psutil.Process]) -> int | None:
    """Sum the proportional set sizes; None where the system does not tell that of each process."""
    if not psutil.LINUX:
        return None
    total_bytes = 0
    for process in processes:
        try:
            size_bytes: int | None = getattr(process.memory_full_info(), "pss", None)
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            return None
        if size_bytes is None:
            return None
        total_bytes += size_bytes
    return total_bytes


def _gpu_usage(readings: Sequence[gpu.GpuReading]) -> GpuUsage:
    return GpuUsage(
        index=readings[0].index,
        mean_utilisation_percent=_apply(fmean, (reading.utilisation_percent for reading in readings)),
        peak_memory_used_bytes=_apply(max, (reading.memory_used_bytes for reading in readings)),
        mean_power_w=_apply(fmean, (reading.power_w for reading in readings)),
        peak_power_w=_apply(max, (reading.power_w for reading in readings)),
        mean_sm_clock_mhz=_apply(fmean, (reading.sm_clock_mhz for reading in readings)),
        min_sm_clock_mhz=_apply(min, (reading.sm_clock_mhz for reading in readings)),
        peak_temperature_c=_apply(max, (reading.temperature_c for reading in readings)),
    )


def _apply(function: Callable[[list[In]], Out], values: Iterable[In | None]) -> Out | None:
    """Apply `max`, `min` or a mean to the values that are known; None when none is."""
    known = [value for value in values if value is not None]
    return function(known) if known else None
