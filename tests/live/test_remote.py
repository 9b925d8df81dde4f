"""Live sessions over a Unix socket: an engine's host and its front-ends, on real sockets."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from auricle.engines.contract import StreamOptions
from auricle.errors import UnsupportedError
from auricle.live.admission import AdmissionRules, RefusedError
from auricle.live.remote import AHEAD_S
from auricle.live.session import SessionLimits
from tests.live.fakes import RATE, FakeRecognizer
from tests.live.remote_helpers import UNIX, failure, front, hosting, remote, speak
from tests.live.sessions import NEVER, WAIT_S, finals, load_null, ones, until

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.engines.contract import Feed

pytestmark = UNIX


def test_forty_sessions_over_two_front_ends_hear_every_sample_once_and_in_order(path: Path) -> None:
    async def scenario() -> None:
        async with hosting(path, load_null()), front(path) as one, front(path) as other:
            await asyncio.gather(*(speak((one, other)[seed % 2], seed) for seed in range(40)))
            assert one.live == other.live == 0

    asyncio.run(scenario())


def test_marks_end_utterances_at_exact_samples(path: Path) -> None:
    async def scenario() -> None:
        async with remote(path, FakeRecognizer()) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            reader = asyncio.create_task(finals(session))
            await session.feed(ones(250))
            session.finalize("first")
            session.finalize("empty")
            await session.feed(ones(120))
            session.end()
            found = await reader
        assert [final.text for final in found] == ["s1c0n100 s1c1n100 s1c2n50", "", "s1c0n100 s1c1n20"]
        assert [final.mark.name for final in found if final.mark] == ["first", "empty", None]
        assert [final.start_s for final in found] == [0.0, 0.25, 0.25]

    asyncio.run(scenario())


def test_a_refusal_crosses_the_wire_whole_and_all_front_ends_have_one_limit(path: Path) -> None:
    async def scenario() -> None:
        async with (
            hosting(path, FakeRecognizer(), AdmissionRules(max_duty=None, max_streams=3)),
            front(path) as one,
            front(path) as other,
        ):
            sessions = [await hub.open(StreamOptions(), NEVER) for hub in (one, other, one)]
            for hub in (one, other):
                with pytest.raises(RefusedError) as refusal:
                    await hub.open(StreamOptions(), NEVER)
                assert refusal.value.limit == 3
                assert refusal.value.load.streams == 3
                assert refusal.value.retry_after_s == 5
                assert "limit 3, observed 3 live streams" in str(refusal.value)
            sessions[0].close()
            (await other.open(StreamOptions(), NEVER)).close()
            assert one.live == 1

    asyncio.run(scenario())


def test_options_that_the_engine_does_not_have_are_refused_by_name(path: Path) -> None:
    async def scenario() -> None:
        async with remote(path, load_null()) as hub:
            with pytest.raises(UnsupportedError, match="chunk"):
                await hub.open(StreamOptions(chunk_ms=90), NEVER)
            assert hub.live == 0
            await speak(hub, 1)

    asyncio.run(scenario())


def test_the_load_of_all_front_ends_is_told_to_each(path: Path) -> None:
    async def scenario() -> None:
        async with (
            hosting(path, FakeRecognizer(), AdmissionRules(max_duty=0.5)),
            front(path) as one,
            front(path) as other,
        ):
            sessions = [await hub.open(StreamOptions(), NEVER) for hub in (one, other, other)]
            for session in sessions:
                await session.feed(ones(1000))
            await until(lambda: one.load().streams == 3 and one.load().duty > 0)
            await until(lambda: other.load() == one.load() and one.engine.capacity(100) is not None)
            await until(lambda: other.engine.capacity(100) == one.engine.capacity(100))

    asyncio.run(scenario())


class Stalled(FakeRecognizer):
    """Waits in every step until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        super().__init__(tell=self._wait)

    def _wait(self, _: list[Feed]) -> None:
        assert self.go.wait(WAIT_S)


def test_while_the_engine_stalls_little_is_on_its_way_and_the_client_is_held_back(path: Path) -> None:
    async def scenario() -> None:
        recognizer = Stalled()
        async with remote(path, recognizer, limits=SessionLimits(buffer_s=1.0)) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            reader = asyncio.create_task(finals(session))

            async def feed() -> None:
                for _ in range(100):
                    await session.feed(ones(100))
                session.end()

            feeder = asyncio.create_task(feed())
            await until(lambda: session.full)
            assert not feeder.done()
            assert session.received <= (1.2 + AHEAD_S) * RATE
            recognizer.go.set()
            await feeder
            (final,) = await reader
        assert len(final.text.split()) == 100

    asyncio.run(scenario())


class FailingStreams(FakeRecognizer):
    """Fails the first stream alone."""

    def __init__(self) -> None:
        super().__init__()
        self.failing.add(1)


def test_a_stream_that_fails_is_told_its_error_and_the_others_go_on(path: Path) -> None:
    async def scenario() -> None:
        async with remote(path, FailingStreams()) as hub:
            bad, good = [await hub.open(StreamOptions(), NEVER) for _ in range(2)]
            for session in (bad, good):
                await session.feed(ones(100))
            assert "this stream failed" in str((await failure(bad)).error)
            good.end()
            assert [final.text for final in await finals(good)] == ["s2c0n100"]

    asyncio.run(scenario())
