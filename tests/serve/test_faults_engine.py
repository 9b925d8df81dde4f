"""An engine that fails: who is told what, who goes on, and that the server then serves the next as before."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import psutil
import pytest

from auricle.audio import Audio, load
from auricle.client.clips import make_clip, wire_format
from auricle.client.events import Heard
from auricle.client.fleet import Concurrency, FleetSettings, run_fleet
from auricle.corpus import open_corpus
from tests.serve import planted
from tests.serve.faults import (
    DIALECTS,
    HEALTHY,
    UNBOUNDED,
    WAIT_S,
    beside,
    faultless,
    of_kind,
    play_healthy,
    recording,
    target_of,
    until_live,
    until_ready,
    wired,
)
from tests.serve.test_app_process import POSIX, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auricle.client.clips import Clip
    from auricle.client.events import StreamRecord
    from tests.serve.test_app_process import Process

pytestmark = POSIX
FAILED = 1011
SPEAKERS = 6
WORKER = "auricle.engines.worker"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server of the planted engine, which is found by its entry point; its defects are logged."""
    site = tmp_path_factory.mktemp("site")
    facts = site / "planted-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[auricle.engines]\nplanted = planted:ENGINE\n")
    (site / "planted.py").write_text(Path(planted.__file__).read_text())
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    with serving("--engine", "planted", "--admission", "off", "--set", "drain_s=2", PYTHONPATH=path) as one:
        yield one
        assert one.end(signal.SIGTERM) == 0


def asking(dialect: str, fault: float) -> Clip:
    """Return a second of audio that asks for a fault."""
    target = target_of("http", dialect)
    rate, _ = wire_format(target)
    return make_clip(Audio(np.full(rate, fault, np.float32), rate, "fault"), target)


async def ask(url: str, dialect: str, number: int, fault: float) -> list[str]:
    """Speak, then ask for a fault; return the errors that the client was told before it was let go."""
    clip, text = recording(dialect, 1.0, number)
    async with wired(url, dialect) as wire:
        await wire.play(clip, seconds=1.0)
        await wire.until(Heard)
        assert text.split()[0] == wire.heard[0].text
        await wire.play(asking(dialect, fault), seconds=0.3, pace=1.0)
        assert await wire.ending() == FAILED
        return of_kind(wire, "")


def test_a_stream_that_the_engine_gives_up_is_told_and_no_other_notices(process: Process) -> None:
    async def is_given_up(url: str, dialect: str, number: int) -> None:
        told = await ask(url, dialect, number, planted.STREAM_FAILS)
        assert "this stream cannot be decoded" in told[-1]

    asyncio.run(beside(process.url, is_given_up))


def test_a_stream_that_the_engine_cannot_close_harms_no_other(process: Process) -> None:
    async def is_stuck(url: str, dialect: str, number: int) -> None:
        async with wired(url, dialect) as wire:
            await wire.play(asking(dialect, planted.CLOSE_FAILS), seconds=0.5)
            if number % 2:
                assert await wire.finish()
            else:
                wire.reset()

    asyncio.run(beside(process.url, is_stuck))
    assert [line for line in process.lines if "planted where streams are closed" in line]


@pytest.mark.parametrize(
    ("fault", "says", "spares"),
    [(planted.STEP_FAILS, "the device is lost", True), (planted.DEFECT, "ZeroDivisionError", False)],
)
def test_a_step_that_raises_ends_its_streams_with_its_name_and_the_next_are_served(
    process: Process, fault: float, says: str, spares: bool
) -> None:
    """A step holds some of the streams that are live; only an error that the contract does not know ends all."""

    async def scene() -> list[StreamRecord]:
        playing = asyncio.create_task(play_healthy(process.url, seconds=6.0, speed=1.0))
        await until_live(process.url, lambda live: live >= HEALTHY)
        assert says in (await ask(process.url, "deepgram", 0, fault))[-1]
        return await playing

    records = asyncio.run(scene())
    failed = [record for record in records if record.outcome == "failed"]
    assert failed
    assert all(says in str(record.error) for record in failed)
    if spares:
        (held,) = {
            int(number) for record in failed for number in re.findall(r"lost to (\d+) streams", str(record.error))
        }
        assert len(failed) in (held, held - 1), "those of the failing step, of which one may be the stream that asked"
        assert {record.outcome for record in records} <= {"complete", "failed"}
    else:
        assert len(failed) == HEALTHY
    assert [line for line in process.lines if says in line], "whoever runs the server must learn of it"
    assert httpx.get(f"{process.url}/ready", timeout=WAIT_S).status_code == 200
    assert {record.outcome for record in asyncio.run(play_healthy(process.url))} == {"complete"}
    asyncio.run(until_live(process.url, lambda live: live == 0))


def test_streams_of_a_shared_engine_that_is_killed_are_told_in_every_dialect_and_the_next_are_served() -> None:
    async def scene(process: Process) -> list[StreamRecord]:
        playing = asyncio.create_task(play_healthy(process.url, seconds=6.0, speed=1.0))
        await until_live(process.url, lambda live: live >= HEALTHY)
        (engine,) = [child for child in psutil.Process(process.popen.pid).children() if "engine" in child.cmdline()]
        engine.kill()
        records = await playing
        await until_ready(process.url, 200)
        return records

    with faultless(*UNBOUNDED, "--workers", "2", "--set", "drain_s=2") as process:
        records = asyncio.run(scene(process))
        assert [record.outcome for record in records] == ["failed"] * HEALTHY
        assert all("the engine process ended" in str(record.error) for record in records)
        assert {record.outcome for record in asyncio.run(play_healthy(process.url))} == {"complete"}


@pytest.fixture(scope="module")
def speaking() -> Iterator[Process]:
    """A server of PocketSphinx on two processes, which end with it."""
    with faultless("--engine", "pocketsphinx", "--threads", "2", "--admission", "off", "--set", "drain_s=5") as one:
        yield one
        workers = live_workers(one)
        assert workers
    assert not any(worker.is_running() for worker in workers)


async def speak(url: str) -> list[StreamRecord]:
    """Play one recording to every dialect in real time."""
    (utterance,) = open_corpus("demo").select(ids=["demo-digits-01"]).utterances
    fleets = []
    for dialect in DIALECTS:
        target = target_of(url, dialect)
        share = SPEAKERS // len(DIALECTS)
        settings = FleetSettings(
            target=target, arrivals=Concurrency(share, ramp_s=0.1), streams=share, stop_after_s=60, seed=len(dialect)
        )
        fleets.append(run_fleet(settings, [make_clip(load(utterance.audio), target)]))
    return [record for result in await asyncio.gather(*fleets) for record in result.records]


@pytest.fixture(scope="module")
def spoken(speaking: Process) -> dict[str, str]:
    """What each dialect hears where nothing fails."""
    records = asyncio.run(speak(speaking.url))
    texts = {record.dialect: record.text for record in records}
    assert all(texts.values())
    assert [record.text for record in records] == [texts[record.dialect] for record in records]
    return texts


def live_workers(process: Process) -> list[psutil.Process]:
    """The engine's processes, busiest first."""
    children = psutil.Process(process.popen.pid).children(recursive=True)
    workers = [child for child in children if child.status() != psutil.STATUS_ZOMBIE and WORKER in child.cmdline()]
    return sorted(workers, key=lambda worker: worker.cpu_times().user, reverse=True)


@pytest.mark.parametrize("killed", [pytest.param(1, id="one"), pytest.param(None, id="all", marks=pytest.mark.slow)])
def test_streams_of_an_engine_process_that_is_killed_are_told_and_the_server_recovers_by_itself(
    speaking: Process, spoken: dict[str, str], killed: int | None
) -> None:
    async def scene() -> list[StreamRecord]:
        playing = asyncio.create_task(speak(speaking.url))
        await until_live(speaking.url, lambda live: live == SPEAKERS)
        await asyncio.sleep(0.5)
        for worker in live_workers(speaking)[:killed]:
            os.kill(worker.pid, signal.SIGKILL)
        return await playing

    records = asyncio.run(scene())
    outcomes = [record.outcome for record in records]
    assert outcomes.count("failed") == (SPEAKERS // 2 if killed else SPEAKERS)
    for record in records:
        if record.outcome == "complete":
            assert record.text == spoken[record.dialect]
        else:
            assert "process ended" in str(record.error)
    after = asyncio.run(speak(speaking.url))
    assert [record.text for record in after] == [spoken[record.dialect] for record in after]
    answer = httpx.get(f"{speaking.url}/health", timeout=WAIT_S).json()
    assert (answer["status"], answer["live"]["streams"]) == ("ok", 0)
