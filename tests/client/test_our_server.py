"""Every dialect against the server of this repository: the same audio, the same text, refusals typed."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.audio import Audio, PcmDecoder, PcmFormat, load
from auricle.client.clips import make_clip, wire_format
from auricle.client.dialects import HTTP, LIVE
from auricle.client.dialects.base import Target
from auricle.client.fleet import Concurrency, FleetSettings, run_fleet
from auricle.client.pacing import CLOCK, Schedule
from auricle.client.stream import Stream, new_record, settled
from auricle.corpus import open_corpus
from auricle.engines.contract import LoadOptions, TranscribeOptions
from auricle.engines.null import ENGINE
from auricle.trace import Tracer
from tests.client.servers import noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auricle.client.clips import Clip
    from auricle.client.events import StreamRecord

PLACES = 12
PATHS = {
    "deepgram": "ws{}/v1/listen",
    "sherpa": "ws{}/",
    "openai-realtime": "ws{}/v1/realtime",
    "openai-http": "http{}",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The null engine behind `auricle serve`, with few places for live streams."""
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [sys.executable, "-m", "auricle", "serve", "--engine", "null", "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AURICLE_")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--max-streams", str(PLACES)], stdout=out, stderr=subprocess.STDOUT, env=environment
        )
    try:
        found = None
        for _ in range(200):
            found = re.search(r"on http(://127\.0\.0\.1:\d+)", log.read_text())
            if found or process.poll() is not None:
                break
            time.sleep(0.1)
        assert found, log.read_text()
        yield found[1]
    finally:
        process.terminate()
        process.wait(20)


def fleet(target: Target, clip: Clip, streams: int, speed: float | None) -> list[StreamRecord]:
    settings = FleetSettings(
        target=target, arrivals=Concurrency(streams, ramp_s=0.3), streams=streams, stop_after_s=30, speed=speed
    )
    return asyncio.run(run_fleet(settings, [clip])).records


def target_of(server: str, dialect: str) -> Target:
    return Target(url=PATHS[dialect].format(server), dialect=dialect, model="null" if dialect == HTTP else None)


def test_a_recording_gives_one_text_through_http_and_every_dialect(server: str) -> None:
    spoken = load(open_corpus("demo").select(ids=["demo-short"]).utterances[0].audio, 24_000)
    audio = Audio(np.round(spoken.samples * 32768) / np.float32(32768), 24_000, "demo-short")
    texts = {}
    for dialect in (HTTP, *LIVE):
        rate = None if dialect == "sherpa" else 24_000  # its clients send the model's rate
        target = dataclasses.replace(target_of(server, dialect), rate=rate)
        (record,) = fleet(target, make_clip(audio, target), 1, speed=4.0)
        texts[dialect] = record.text
    assert len(texts[HTTP].split()) == 7
    assert set(texts.values()) == {texts[HTTP]}


@pytest.mark.parametrize("speed", [None, 4.0])
@pytest.mark.parametrize("dialect", LIVE)
def test_every_sample_is_recognised_once_and_in_order(server: str, dialect: str, speed: float | None) -> None:
    target = target_of(server, dialect)
    clip = make_clip(noise(2.3), target)
    decoder = PcmDecoder(PcmFormat(wire_format(target)[1], clip.rate), 16_000)
    samples = np.concatenate([decoder.feed(clip.pcm), decoder.finish()])
    recognizer = ENGINE.load(LoadOptions(), Tracer())
    (expected,) = recognizer.transcribe([Audio(samples, 16_000)], TranscribeOptions())
    records = fleet(target, clip, PLACES, speed)
    assert [record.outcome for record in records] == ["complete"] * PLACES
    assert {record.text for record in records} == {expected.text}


@pytest.mark.parametrize("dialect", LIVE)
def test_streams_beyond_the_places_are_refused_and_the_others_unharmed(server: str, dialect: str) -> None:
    target = target_of(server, dialect)
    clip = make_clip(noise(2.3), target)
    schedule = Schedule(clip.samples, clip.rate, clip.rate // 10, speed=None)
    held = [new_record(target, clip, schedule, number) for number in range(PLACES)]
    settings = FleetSettings(target=target, arrivals=Concurrency(5, ramp_s=0), streams=5, stop_after_s=30, speed=None)

    async def main() -> list[StreamRecord]:
        streams = [Stream(target, record) for record in held]
        for stream in streams:
            await stream.open()
        others = await run_fleet(settings, [clip])
        for stream in streams:
            with settled(stream.record):
                await stream.play(clip, schedule, CLOCK())
                await stream.finish()
            await stream.close()
        return others.records

    refused = asyncio.run(main())
    assert [record.outcome for record in held] == ["complete"] * PLACES
    assert len({record.text for record in held}) == 1
    assert [(record.outcome, record.retry_after_s) for record in refused] == [("refused", 5.0)] * 5


def test_uploads_are_answered(server: str) -> None:
    (utterance,) = open_corpus("demo").select(ids=["demo-short"]).utterances
    target = target_of(server, HTTP)
    records = fleet(target, make_clip(load(utterance.audio), target), 4, None)
    assert [record.outcome for record in records] == ["complete"] * 4
    assert len({record.text for record in records}) == 1
    assert records[0].text.startswith("0:")
