"""Prometheus' figures move with what was done."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from auricle.engines.contract import StreamOptions
from auricle.live.scheduler import StepReport
from auricle.serve.metrics import MeteredTracer, Metrics
from auricle.trace import Span
from tests.serve.recordings import noise, wav

if TYPE_CHECKING:
    from tests.serve.conftest import Running, Start

WAIT_S = 60


def samples(text: str) -> dict[tuple[str, ...], float]:
    """The value of each sample under its name and its labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(server: Running) -> dict[tuple[str, ...], float]:
    answer = httpx.get(f"{server.url}/metrics", timeout=WAIT_S)
    assert answer.headers["content-type"].startswith("text/plain")
    return samples(answer.text)


def test_a_file_is_counted(start: Start) -> None:
    server = start()
    url = f"{server.url}/v1/audio/transcriptions"
    for model in ("null", "null", "other"):
        httpx.post(url, data={"model": model}, files={"file": ("a.wav", wav(noise(1.5)))})
    seen = scrape(server)
    assert seen["auricle_request_seconds_count", "POST", "/v1/audio/transcriptions", "200"] == 2
    assert seen["auricle_request_seconds_count", "POST", "/v1/audio/transcriptions", "404"] == 1
    assert seen["auricle_audio_in_seconds_total", "file"] == 3
    assert seen["auricle_audio_out_seconds_total", "file"] == 3
    assert seen["auricle_stage_seconds_count", "file"] == 2
    assert seen["auricle_stage_seconds_count", "decode"] == 2
    assert seen["auricle_files_open",] == 0


def test_unknown_routes_and_methods_do_not_make_new_series(start: Start) -> None:
    server = start()
    for method in ("PROPFIND", "MKCOL", "LOCK"):
        httpx.request(method, f"{server.url}/{method}")
    seen = scrape(server)
    routes = [name for name in seen if name[0] == "auricle_request_seconds_count"]
    assert routes == [("auricle_request_seconds_count", "other", "other", "404")]


def test_a_live_stream_is_counted(start: Start) -> None:
    server = start()
    assert server.service.hub is not None
    hub = server.service.hub

    async def speak() -> None:
        session = await hub.open(StreamOptions(chunk_ms=100))
        await session.feed(np.zeros(16_000, np.float32))
        await session.feed(np.zeros(800, np.float32))
        session.finalize()
        async for event in session.events():
            if getattr(event, "mark", None) is not None:
                return

    asyncio.run_coroutine_threadsafe(speak(), hub._loop).result(WAIT_S)
    seen = scrape(server)
    assert seen["auricle_live_streams",] == 1
    assert seen["auricle_live_slots",] == 100_000
    assert seen["auricle_audio_in_seconds_total", "live"] == 1.05
    assert round(seen["auricle_audio_out_seconds_total", "live"], 6) == 1.05
    assert seen["auricle_queue_wait_seconds_count",] == 11
    assert seen["auricle_step_seconds_count",] == seen["auricle_step_streams_count",]
    assert 0 <= seen["auricle_live_duty",] <= 1


def test_received_audio_is_counted_once_also_after_the_session(start: Start) -> None:
    server = start()
    assert server.service.hub is not None
    hub = server.service.hub

    async def speak() -> None:
        session = await hub.open(StreamOptions())
        await session.feed(np.zeros(1600, np.float32))
        session.end()
        async for _ in session.events():
            pass

    asyncio.run_coroutine_threadsafe(speak(), hub._loop).result(WAIT_S)
    for _ in range(2):
        assert scrape(server)["auricle_audio_in_seconds_total", "live"] == 0.1


def test_late_chunks_and_batches_are_counted() -> None:
    metrics = Metrics()
    waits_s = (0.0, 0.05, 0.1)
    metrics.step(StepReport(0.2, waits_s, 0.3, 2, tick_waits_s=(0.0, 0.01, 0.02), files_s=0.04, file_pieces=1))
    metrics.step(StepReport(0.1, ()), replica=1)
    seen = samples(metrics.text().decode())
    assert seen["auricle_late_chunks_total",] == 2
    assert seen["auricle_step_streams_sum",] == 3
    assert seen["auricle_queue_wait_seconds_count",] == seen["auricle_tick_wait_seconds_count",] == 3
    assert seen["auricle_file_wait_seconds_count",] == 1
    assert seen["auricle_replica_step_seconds_total", "0"] == 0.2
    assert seen["auricle_replica_step_seconds_total", "1"] == 0.1


def test_spans_become_histograms_and_are_not_kept() -> None:
    metrics = Metrics()
    tracer = MeteredTracer(metrics)
    with tracer.span("encoder"):
        pass
    tracer.extend([Span("encoder", 0.0, 0.25)])
    assert samples(metrics.text().decode())["auricle_stage_seconds_count", "encoder"] == 2
    assert tracer.drain() == []


def test_servers_do_not_share_their_figures() -> None:
    one, other = Metrics(), Metrics()
    one.refused("key")
    assert b'reason="key"' not in other.text()


def test_the_lag_of_the_event_loop_is_measured(start: Start) -> None:
    server, deadline_s = start(), time.monotonic() + WAIT_S
    while scrape(server)["auricle_loop_lag_seconds_count",] < 3:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
