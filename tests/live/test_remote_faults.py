"""Processes that go away, and connections that say what cannot be read."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from auricle.engines.contract import StreamOptions
from auricle.errors import EngineCrashedError
from auricle.live.remote import RemoteEngine
from auricle.live.wire import LENGTH, encode
from tests.live.fakes import FakeRecognizer
from tests.live.remote_helpers import UNIX, failure, front, hosting, remote, speak
from tests.live.sessions import NEVER, WAIT_S, finals, load_null, noise, ones, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = UNIX


def test_a_host_that_is_gone_fails_its_streams_at_once_and_its_successor_serves_again(path: Path) -> None:
    async def scenario() -> None:
        async with hosting(path, load_null()) as host, front(path) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            await host.stop()
            assert isinstance((await failure(session)).error, EngineCrashedError)
            assert hub.live == 0
            with pytest.raises(EngineCrashedError, match="not there"):
                await hub.open(StreamOptions(), NEVER)
            path.unlink(missing_ok=True)  # noqa: ASYNC240  at once
            async with hosting(path, load_null()):
                assert isinstance(hub.engine, RemoteEngine)
                engine = hub.engine
                await until(lambda: engine.alive)
                await speak(hub, 3)

    asyncio.run(scenario())


def test_streams_of_a_front_end_that_is_gone_are_given_back(path: Path) -> None:
    async def scenario() -> None:
        recognizer = FakeRecognizer()
        async with hosting(path, recognizer), front(path) as other:
            session = await other.open(StreamOptions(), NEVER)
            async with front(path) as gone:
                for _ in range(5):
                    await gone.open(StreamOptions(), NEVER)
                assert len(recognizer.open_streams) == 6
                assert isinstance(gone.engine, RemoteEngine)
                assert gone.engine._link is not None
                gone.engine._link.abort()
                await until(lambda: len(recognizer.open_streams) == 1)
            await session.feed(ones(100))
            session.end()
            assert [final.text for final in await finals(session)] == ["s1c0n100"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n" * 100,
        LENGTH.pack(5) + b"12345",
        encode([("no such kind",)]),
        encode([("audio", 1)]),
        encode([("open", 1, None, None, False)]),
        encode([("open", 1)]),
        encode([("transcribe",)]),
        LENGTH.pack(1 << 40),
        bytes(range(1, 256)) * 400,
    ],
    ids=["http", "no pickle", "kind", "short", "no options", "no request", "no batch", "long", "noise"],
)
def test_what_cannot_be_read_ends_that_connection_alone(path: Path, data: bytes) -> None:
    async def scenario() -> None:
        async with remote(path, load_null()) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(data)
            async with asyncio.timeout(WAIT_S):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
            writer.close()
            await session.feed(noise(0.5, 1))
            session.end()
            assert len(await finals(session)) == 1
            await speak(hub, 2)

    asyncio.run(scenario())


def test_half_a_frame_disturbs_nobody(path: Path) -> None:
    async def scenario() -> None:
        async with remote(path, load_null()) as hub:
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(LENGTH.pack(1000) + b"abc")
            await speak(hub, 2)
            writer.close()

    asyncio.run(scenario())
