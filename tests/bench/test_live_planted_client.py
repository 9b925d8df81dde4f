"""The paced client against a server whose truth is planted: what it records is what the server's own log says.

Tolerances are for a machine that is busy with other things: what is planted is 0.3 s and more, a timer that comes late
costs some tens of milliseconds at either end, and `SLACK_S` allows for both.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest
from websockets.asyncio.client import connect

from auricle.audio import Audio
from auricle.client.clips import Clip, make_clip
from auricle.client.dialects.base import Target
from auricle.client.fleet import Concurrency, FleetResult, FleetSettings, run_fleet
from tests.bench import planted_truth as truth
from tests.bench.planted_server import Level, Plan, PlantedServer
from tests.bench.planted_speech import DEFAULT, RATE, VOCABULARY, Shape, speak

if TYPE_CHECKING:
    from auricle.client.events import StreamRecord
    from tests.bench.planted_server import StreamLog

SLACK_S = 0.12
CHUNK_S = 0.1
QUIET = Plan({0: Level()})


def clips(target: Target, count: int = 1, shape: Shape = DEFAULT) -> list[Clip]:
    return [
        make_clip(Audio(speak(VOCABULARY[first : first + shape.words], shape)[0], RATE, f"clip-{first}"), target)
        for first in range(count)
    ]


def play(
    server: PlantedServer,
    streams: int = 1,
    *,
    dialect: str = "deepgram",
    shape: Shape = DEFAULT,
    speed: float = 1.0,
    start_for_s: float | None = None,
) -> FleetResult:
    """Play one recording a stream, all at once."""
    target = Target(url=server.url(dialect), dialect=dialect)
    wanted = FleetSettings(
        target=target,
        arrivals=Concurrency(streams, ramp_s=0.1),
        streams=streams,
        stop_after_s=30.0,
        start_for_s=start_for_s,
        speed=speed,
    )
    return asyncio.run(run_fleet(wanted, clips(target, streams, shape)))


def reported_s(record: StreamRecord) -> list[float]:
    """Seconds from when each chunk was due to the first message that covers it."""
    first_s = record.due_s[0] - record.chunk / record.rate
    return [
        next(at for at, covered in zip(record.heard_s, record.covered_s, strict=True) if covered >= end_s - 1e-6)
        - first_s
        - end_s
        for end_s in (due_s - first_s for due_s in record.due_s)
    ]


def check_latencies(reported: list[float], log: StreamLog) -> None:
    """Fail unless latencies are what the server's log says they were from the due times on, nine of ten within reach.

    A machine that stands still for a moment moves the tenth.
    """
    planted = [latency for _, latency in truth.chunk_latencies_s(log, CHUNK_S)]
    assert len(reported) == len(planted)
    assert np.quantile(np.abs(np.array(reported) - np.array(planted)), 0.9) < SLACK_S


@pytest.mark.parametrize("dialect", ["deepgram", "sherpa", "openai-realtime"])
def test_every_word_is_heard_in_every_dialect(dialect: str) -> None:
    with PlantedServer(QUIET) as server:
        result = play(server, 2, dialect=dialect, speed=4.0)
    for record in result.records:
        first = int(record.clip.removeprefix("clip-"))
        assert record.outcome == "complete"
        assert record.text.split() == VOCABULARY[first : first + 8]
    assert all([word.start_s for word in log.words] == pytest.approx(
        [0.5 + 0.3 * place for place in range(8)], abs=0.011
    ) for log in server.streams)  # fmt: skip


def test_latencies_are_those_of_the_servers_log() -> None:
    with PlantedServer(Plan({0: Level(delay_s=(0.3, 0.9), finalize_s=(0.5, 0.5))})) as server:
        result = play(server, 3, shape=Shape(words=5))
    by_clip = {" ".join(word.text for word in log.words): log for log in server.streams}
    for record in result.records:
        check_latencies(reported_s(record), by_clip[record.text])


STALLED = Plan({0: Level(stall_at_s=0.5, stall_s=2.0, stops_reading=True)}, small_buffers=True)


def test_a_server_that_stops_reading_is_measured_from_the_due_times() -> None:
    with PlantedServer(STALLED) as server:
        result = play(server)
    latencies = reported_s(result.records[0])
    check_latencies(latencies, server.streams[0])
    assert max(latencies) > 2.0
    assert sum(latency > 1.0 for latency in latencies) >= 10  # those due in the first second of the stall


async def fixed_sleep(url: str, clip: Clip) -> list[float]:
    """Report latencies as a careless client does: send, sleep a chunk, count from the sending."""
    raw = socket.create_connection(("127.0.0.1", urlsplit(url).port or 0))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    raw.setblocking(False)
    step = round(CHUNK_S * clip.rate) * 2
    sent: list[float] = []
    heard: list[tuple[float, float]] = []
    async with connect(url, sock=raw, compression=None, write_limit=1) as web:

        async def listen() -> None:
            async for message in web:
                value = json.loads(message)
                if value["type"] == "Metadata":
                    return
                heard.append((value["start"] + value["duration"], time.monotonic()))

        listening = asyncio.create_task(listen())
        for first in range(0, len(clip.pcm), step):
            sent.append(time.monotonic())
            await web.send(clip.pcm[first : first + step])
            await asyncio.sleep(CHUNK_S)
        await web.send('{"type":"CloseStream"}')
        await listening
    ends = [min((number + 1) * CHUNK_S, clip.duration_s) for number in range(len(sent))]
    return [
        next(at for covered, at in heard if covered >= end - 1e-6) - sent_s
        for sent_s, end in zip(sent, ends, strict=True)
    ]


def test_a_client_that_sleeps_between_chunks_reports_too_little() -> None:
    with PlantedServer(STALLED) as server:
        url = server.url()
        latencies = asyncio.run(fixed_sleep(url, clips(Target(url=url, dialect="deepgram"))[0]))
    planted = [latency for _, latency in truth.chunk_latencies_s(server.streams[0], CHUNK_S)]
    with pytest.raises(AssertionError):
        check_latencies(latencies, server.streams[0])
    assert np.mean(latencies) < np.mean(planted) - 0.3


def test_a_saturated_client_is_named_by_its_certificate() -> None:
    target = Target(url="", dialect="deepgram")

    async def main(url: str, busy_s: float) -> FleetResult:
        async def keep_busy() -> None:
            while True:
                await asyncio.sleep(0.2)
                time.sleep(busy_s)  # noqa: ASYNC251  this is the plant

        busy = asyncio.create_task(keep_busy())
        wanted = FleetSettings(
            target=Target(url=url, dialect="deepgram"),
            arrivals=Concurrency(10, ramp_s=0.1),
            streams=10,
            stop_after_s=30.0,
            chunk_ms=25,
        )
        result = await run_fleet(wanted, clips(target, 10, Shape(words=3)))
        busy.cancel()
        return result

    with PlantedServer(QUIET) as server:
        blocked, free = (asyncio.run(main(server.url(), busy_s)).certificate for busy_s in (0.3, 0.0))
    late_s = [at_s - log.start_s - audio_s for log in server.streams[:10] for audio_s, at_s in log.arrived]
    planted_ms = 1000 * float(np.percentile(late_s, 99))
    assert blocked.late_p99_ms is not None
    assert free.late_p99_ms is not None
    assert planted_ms > 200
    assert blocked.late_p99_ms == pytest.approx(planted_ms, abs=1000 * SLACK_S)
    assert free.late_p99_ms < blocked.late_p99_ms / 2


def test_a_stream_cut_off_is_a_failure_in_the_records_and_keeps_what_was_heard() -> None:
    with PlantedServer(Plan({0: Level(drop_each=2, drop_at_s=1.5)})) as server:
        records = play(server, 4, shape=Shape(words=5)).records
    assert sorted(log.dropped for log in server.streams) == [False, False, True, True]
    assert sorted(record.outcome for record in records) == ["complete", "complete", "failed", "failed"]
    for record in records:
        assert (record.outcome == "failed") == (record.close_code == 1011)
        assert record.outcome == "complete" or (record.texts and not record.finals and "1011" in (record.error or ""))


def test_streams_beyond_the_limit_are_refused_and_told_when_to_come_again() -> None:
    with PlantedServer(Plan({0: Level()}, most_live=2, retry_after_s=3)) as server:
        records = play(server, 5, shape=Shape(words=2), start_for_s=0.5).records
    refused = [record for record in records if record.outcome == "refused"]
    assert len(refused) == len(server.refused_s) == 3
    assert {record.retry_after_s for record in refused} == {3.0}
    assert not any(record.texts or record.sent_s for record in refused)
    assert sum(record.outcome == "complete" for record in records) == len(server.streams) == 2


def test_planted_errors_arrive_as_they_were_planted() -> None:
    level = Level(errors={1: "S", 3: "D", 5: "I"}, silent_each=3, truncate_each=4)
    with PlantedServer(Plan({0: level})) as server:
        records = play(server, 4, speed=2.0).records
    said = sorted(" ".join(piece for word in log.words for piece in word.said) for log in server.streams)
    assert sorted(record.text for record in records) == said
    assert [len(text.split()) for text in said].count(0) == 1
    assert truth.errors(server.streams) == {"S": 3, "D": 2 + 8 + 5, "I": 2, "N": 32}
