"""An engine's host and its front-ends in one process, on real sockets, and sessions that speak through them."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.audio import Audio
from auricle.engines import null
from auricle.engines.contract import LoadOptions, StreamOptions, TranscribeOptions
from auricle.live.admission import AdmissionRules
from auricle.live.endpoint import EndpointRules
from auricle.live.engine import LocalEngine
from auricle.live.events import Failed, Final
from auricle.live.host import EngineHost
from auricle.live.hub import HubRules, LiveHub
from auricle.live.remote import RemoteEngine, RemoteRecognizer
from auricle.live.session import SessionLimits
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from auricle.engines.contract import StreamingRecognizer
    from auricle.live.session import Session

UNIX = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
NEVER = EndpointRules(None, None, None)
UNBOUNDED = AdmissionRules(max_duty=None)
WAIT_S = 60.0


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not reached():  # noqa: ASYNC110  what is waited for tells nobody
            await asyncio.sleep(0.01)


@asynccontextmanager
async def hosting(
    path: Path, recognizer: StreamingRecognizer, rules: AdmissionRules = UNBOUNDED
) -> AsyncIterator[EngineHost]:
    engine = LocalEngine(recognizer, rules)
    host = EngineHost(recognizer, engine, files_at_once=2)
    engine.start(host.deliver)
    await host.serve(path)
    try:
        yield host
    finally:
        await engine.stop()
        await host.stop()


@asynccontextmanager
async def front(path: Path, limits: SessionLimits | None = None) -> AsyncIterator[LiveHub]:
    engine = RemoteEngine(path)
    recognizer = await asyncio.to_thread(RemoteRecognizer, path, WAIT_S)
    hub = LiveHub(recognizer, HubRules(limits=limits or SessionLimits()), engine)
    await until(lambda: engine.alive)
    try:
        yield hub
    finally:
        await hub.stop()


@asynccontextmanager
async def remote(
    path: Path, recognizer: StreamingRecognizer, rules: AdmissionRules = UNBOUNDED, limits: SessionLimits | None = None
) -> AsyncIterator[LiveHub]:
    async with hosting(path, recognizer, rules), front(path, limits) as hub:
        yield hub


def load_null() -> null.NullRecognizer:
    return null.ENGINE.load(LoadOptions(), Tracer())


def noise(seconds: float, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * null.SAMPLE_RATE)).astype(np.float32)


def ones(samples: int) -> NDArray[np.float32]:
    return np.ones(samples, np.float32)


def file_text(samples: NDArray[np.float32]) -> str:
    return load_null().transcribe([Audio(samples, null.SAMPLE_RATE)], TranscribeOptions())[0].text


async def finals(session: Session) -> list[Final]:
    return [event async for event in session.events() if isinstance(event, Final)]


async def failure(session: Session) -> Failed:
    async with asyncio.timeout(WAIT_S):
        events = [event async for event in session.events()]
    (failed,) = [event for event in events if isinstance(event, Failed)]
    return failed


async def speak(hub: LiveHub, seed: int, pause_s: float = 0.0) -> None:
    samples = noise(1 + seed / 20, seed)
    session = await hub.open(StreamOptions(chunk_ms=(80, 100, 160, 560)[seed % 4]), NEVER)
    reader = asyncio.create_task(finals(session))
    for start in range(0, len(samples), 50 + 37 * seed):
        await session.feed(samples[start : start + 50 + 37 * seed])
        await asyncio.sleep(pause_s)
    session.end()
    (final,) = await reader
    assert final.text == file_text(samples)
    assert [word.text for word in final.words] == final.text.split()
