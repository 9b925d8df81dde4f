"""An engine's host and its front-ends in one process, on real sockets, and sessions that speak through them."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from auricle.engines.contract import StreamOptions
from auricle.live.admission import AdmissionRules
from auricle.live.engine import LocalEngine
from auricle.live.events import Failed
from auricle.live.host import EngineHost
from auricle.live.hub import HubRules, LiveHub
from auricle.live.remote import RemoteEngine, RemoteRecognizer
from auricle.live.session import SessionLimits
from tests.live.sessions import NEVER, WAIT_S, file_text, finals, noise, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from auricle.engines.contract import StreamingRecognizer
    from auricle.live.session import Session

UNIX = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
UNBOUNDED = AdmissionRules(max_duty=None)


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
