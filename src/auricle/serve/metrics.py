"""What the server tells Prometheus, in a registry of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from auricle.live.scheduler import StepReport
    from auricle.trace import Span

SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12)
LONG_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
STREAMS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)


class Metrics:
    """Counters and histograms of one server; safe to use from any thread."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Histogram(
            "auricle_request_seconds",
            "HTTP requests and WebSocket sessions, by route and status (of a WebSocket: its close code).",
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
        self.late = Counter(
            "auricle_late_chunks_total", "Live chunks done later than their own length.", registry=registry
        )
        self.audio_in = Counter(
            "auricle_audio_in_seconds_total", "Audio received, in seconds.", ("kind",), registry=registry
        )
        self.audio_out = Counter(
            "auricle_audio_out_seconds_total", "Audio recognised, in seconds.", ("kind",), registry=registry
        )

    def watch(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read at every scrape."""
        Gauge(name, about, registry=self.registry).set_function(read)

    def refused(self, reason: str) -> None:
        """Count what was not let in: `key`, `files`, `streams`, `draining`."""
        self.refusals.labels(reason).inc()

    def step(self, report: StepReport) -> None:
        """Take one live step; called on the engine thread."""
        self.steps.observe(report.duration_s)
        self.fill.observe(len(report.waits_s))
        for wait_s in report.waits_s:
            self.waits.observe(wait_s)
        self.late.inc(report.late_chunks)
        self.audio_out.labels("live").inc(report.audio_s)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class MeteredTracer(Tracer):
    """Turns stage spans into histograms as they come and keeps none of them."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def extend(self, spans: Iterable[Span]) -> None:
        """Count spans."""
        for span in spans:
            self._metrics.stages.labels(span.stage).observe(span.duration_s)
