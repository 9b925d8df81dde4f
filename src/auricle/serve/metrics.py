"""What the server tells Prometheus, in a registry of its own; of several processes, the sums over all of them."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from auricle.engines.contract import TakesTurns
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from auricle.engines.contract import Recognizer
    from auricle.live.scheduler import StepReport
    from auricle.trace import Span

SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.025, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12)
LONG_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
FILES = "auricle_files_open"
STREAMS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)


SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that has prometheus-client keep its figures in files that processes share."""


class Metrics:
    """Counters and histograms of one server; safe to use from any thread.

    Several processes share them in the folder `shared`, which SHARED must have named since they started; their
    supervisor is then the parent. What a process counted stays counted when it ends.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        self._local = local = CollectorRegistry()
        if shared is None:
            self._registry = registry = local
            ProcessCollector(registry=local)
        else:
            self._registry = registry = CollectorRegistry()
            local.register(_Processes(os.getppid()))
        self.requests = Histogram(
            "auricle_request_seconds",
            "HTTP requests and WebSocket sessions, by route and status (of a WebSocket: ended or failed).",
            ("method", "route", "status"),
            buckets=LONG_S,
            registry=registry,
        )
        self.refusals = Counter(
            "auricle_refusals_total", "What was not let in, by reason.", ("reason",), registry=registry
        )
        self.stages = Histogram(
            "auricle_stage_seconds", "Stages of recognition.", ("stage",), buckets=SHORT_S, registry=registry
        )
        self.steps = Histogram("auricle_step_seconds", "Live steps of the engine.", buckets=SHORT_S, registry=registry)
        self.fill = Histogram("auricle_step_streams", "Streams in a live step.", buckets=STREAMS, registry=registry)
        self.waits = Histogram(
            "auricle_queue_wait_seconds", "Wait of a live chunk for its step.", buckets=SHORT_S, registry=registry
        )
        self.tick_waits = Histogram(
            "auricle_tick_wait_seconds",
            "Of the wait of a live chunk, what came before the tick that took it.",
            buckets=SHORT_S,
            registry=registry,
        )
        self.file_waits = Histogram(
            "auricle_file_wait_seconds",
            "Waits of live steps for a piece of the work of files.",
            buckets=SHORT_S,
            registry=registry,
        )
        self.file_pieces = Histogram(
            "auricle_file_piece_seconds",
            "Pieces of the work of files between which live steps go first, while streams are live.",
            buckets=SHORT_S,
            registry=registry,
        )
        self.late = Counter(
            "auricle_late_chunks_total", "Live chunks done later than their own length.", registry=registry
        )
        self.by_replica = Counter(
            "auricle_replica_step_seconds_total",
            "Time in live steps, by replica of the engine.",
            ("replica",),
            registry=registry,
        )
        self.audio_in = Counter(
            "auricle_audio_in_seconds_total", "Audio received, in seconds.", ("kind",), registry=registry
        )
        self.audio_out = Counter(
            "auricle_audio_out_seconds_total", "Audio recognised, in seconds.", ("kind",), registry=registry
        )
        self._live_out = self.audio_out.labels("live")
        self.loop_lag = Histogram(
            "auricle_loop_lag_seconds",
            "How late the event loop was with a timer.",
            buckets=SHORT_S,
            registry=registry,
        )
        self.files = Gauge(
            FILES, "Files uploaded, waiting or recognised.", registry=registry, multiprocess_mode="livesum"
        )

    def watch(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read at every scrape, of something that all processes see alike."""
        self._local.register(_Watched(name, about, read))

    def watch_replicas(self, name: str, about: str, read: Callable[[], Sequence[float]]) -> None:
        """Add a gauge like that of `watch` for each replica of the engine, by its number."""
        self._local.register(_WatchedReplicas(name, about, read))

    def files_open(self) -> int:
        """Return how many files the whole server has now."""
        if self._shared is None:
            return int(self._registry.get_sample_value(FILES) or 0)
        files = [str(file) for file in self._shared.glob("gauge_livesum_*.db")]
        found = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]  # it has no types
        return sum(int(sample.value) for metric in found for sample in metric.samples if metric.name == FILES)

    def refused(self, reason: str) -> None:
        """Count what was not let in: `key`, `files`, `streams`, `draining`."""
        self.refusals.labels(reason).inc()

    def step(self, report: StepReport, replica: int = 0) -> None:
        """Take one live step; called on the engine thread."""
        self.steps.observe(report.duration_s)
        self.by_replica.labels(replica).inc(report.duration_s)
        self.fill.observe(len(report.waits_s))
        for wait_s in report.waits_s:
            self.waits.observe(wait_s)
        for wait_s in report.tick_waits_s:
            self.tick_waits.observe(wait_s)
        if report.file_pieces:
            self.file_waits.observe(report.files_s)
        self.late.inc(report.late_chunks)
        self._live_out.inc(report.audio_s)

    def pieces(self, recognizer: Recognizer) -> None:
        """Take the pieces of the work of files, where the recogniser has such."""
        if isinstance(recognizer, TakesTurns) and recognizer.turns is not None:
            recognizer.turns.observe = self.file_pieces.observe

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        if self._shared is None:
            return generate_latest(self._local)
        summed = CollectorRegistry()
        MultiProcessCollector(summed, str(self._shared))  # type: ignore[no-untyped-call]  # it has no types
        return generate_latest(summed) + generate_latest(self._local)


class _Watched(Collector):
    def __init__(self, name: str, about: str, read: Callable[[], float]) -> None:
        self._name, self._about, self._read = name, about, read

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(self._name, self._about, self._read())


class _WatchedReplicas(Collector):
    def __init__(self, name: str, about: str, read: Callable[[], Sequence[float]]) -> None:
        self._name, self._about, self._read = name, about, read

    def collect(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily(self._name, self._about, labels=["replica"])
        for number, value in enumerate(self._read()):
            gauge.add_metric([str(number)], value)
        yield gauge


class _Processes(Collector):
    """What ProcessCollector tells, of a supervisor with all below it; CPU time includes that of those that ended."""

    def __init__(self, supervisor: int) -> None:
        self._supervisor = supervisor

    def collect(self) -> Iterator[Metric]:
        import psutil

        root = psutil.Process(self._supervisor)
        cpu_s, resident, virtual, files = 0.0, 0, 0, 0
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times, memory = process.cpu_times(), process.memory_info()
                cpu_s += times.user + times.system + times.children_user + times.children_system
                resident, virtual = resident + memory.rss, virtual + memory.vms
                files += process.num_fds()
        yield CounterMetricFamily("process_cpu_seconds", "Total user and system CPU time spent in seconds.", cpu_s)
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory size in bytes.", resident)
        yield GaugeMetricFamily("process_virtual_memory_bytes", "Virtual memory size in bytes.", virtual)
        yield GaugeMetricFamily("process_open_fds", "Number of open file descriptors.", files)
        yield GaugeMetricFamily("process_start_time_seconds", "Start time of the server.", root.create_time())


def forget_process(shared: Path, pid: int) -> None:
    """Take a process that ended out of what is open now; what it counted stays."""
    mark_process_dead(pid, str(shared))  # type: ignore[no-untyped-call]  # it has no types


class MeteredTracer(Tracer):
    """Turns stage spans into histograms as they come and keeps none of them."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._histogram = cache(metrics.stages.labels)

    def extend(self, spans: Iterable[Span]) -> None:
        """Count spans."""
        for span in spans:
            self._histogram(span.stage).observe(span.duration_s)
