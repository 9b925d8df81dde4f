"""Live sessions on a real engine thread: nothing is lost, nothing repeated, and every bound holds."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from auricle.engines.contract import StreamOptions
from auricle.errors import EngineError
from auricle.live.admission import AdmissionRules, RefusedError
from auricle.live.engine import LocalEngine
from auricle.live.events import Failed, Final, Partial
from auricle.live.hub import HubRules, LiveHub, ResumeError
from auricle.live.session import LimitError, SessionEndedError, SessionLimits
from tests.live.fakes import RATE, FakeRecognizer
from tests.live.sessions import NEVER, WAIT_S, file_text, finals, load_null, noise, ones, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from auricle.engines.contract import Feed, StreamFailure, StreamingRecognizer
    from auricle.transcript import Hypothesis

UNBOUNDED = AdmissionRules(max_duty=None)


@asynccontextmanager
async def hub_over(recognizer: StreamingRecognizer, **rules: object) -> AsyncIterator[LiveHub]:
    hub = LiveHub(recognizer, HubRules(**{"admission": UNBOUNDED, **rules}))  # type: ignore[arg-type]  # as named
    try:
        yield hub
    finally:
        await hub.stop()


def test_fifty_sessions_hear_every_sample_once_and_in_order() -> None:
    async def client(hub: LiveHub, seed: int) -> str:
        samples = noise(1 + seed / 10, seed)
        session = await hub.open(StreamOptions(chunk_ms=(80, 100, 160, 560)[seed % 4]), NEVER)
        reader = asyncio.create_task(finals(session))
        for start in range(0, len(samples), 50 + 37 * seed):
            await session.feed(samples[start : start + 50 + 37 * seed])
            await asyncio.sleep(0)
        session.end()
        (final,) = await reader
        assert final.text == file_text(samples)
        return final.text

    async def scenario() -> None:
        async with hub_over(load_null()) as hub:
            await asyncio.gather(*(client(hub, seed) for seed in range(50)))
            assert hub.live == 0

    asyncio.run(scenario())


def test_finalize_gives_a_final_for_what_came_before_it_and_the_session_goes_on() -> None:
    async def scenario() -> None:
        async with hub_over(FakeRecognizer()) as hub:
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


class Stalled(FakeRecognizer):
    """Waits in every step until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        super().__init__(tell=self._wait)

    def _wait(self, _: list[Feed]) -> None:
        assert self.go.wait(WAIT_S)


def test_a_client_faster_than_the_engine_is_made_to_wait() -> None:
    async def scenario() -> None:
        recognizer = Stalled()
        async with hub_over(recognizer, limits=SessionLimits(buffer_s=1.0)) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            reader = asyncio.create_task(finals(session))

            async def feed() -> None:
                for _ in range(100):
                    await session.feed(ones(100))
                session.end()

            feeder = asyncio.create_task(feed())
            await until(lambda: session.full)
            assert not feeder.done()
            assert session.received <= 1.3 * RATE
            recognizer.go.set()
            await feeder
            (final,) = await reader
        assert len(final.text.split()) == 100

    asyncio.run(scenario())


def test_a_slow_reader_loses_partials_and_no_final() -> None:
    async def scenario() -> list[object]:
        async with hub_over(FakeRecognizer()) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            for number in range(5):
                for _ in range(4):
                    await session.feed(ones(100))
                session.finalize(str(number))
            session.end()
            await until(lambda: session.ended)
            assert session.coalesced > 0
            return [event async for event in session.events()]

    events = asyncio.run(scenario())
    marks = [event.mark.name for event in events if isinstance(event, Final) and event.mark]
    assert marks == ["0", "1", "2", "3", "4", None]
    assert not any(isinstance(event, Partial) for event in events)


def test_stable_words_of_partials_that_were_not_read_are_not_lost() -> None:
    async def scenario() -> Partial:
        async with hub_over(FakeRecognizer()) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            for _ in range(8):
                await session.feed(ones(100))
            await until(lambda: session.coalesced == 7)
            async for event in session.events():
                assert isinstance(event, Partial)
                return event
        raise AssertionError("no event")

    partial = asyncio.run(scenario())
    assert list(partial.new_stable) == partial.text.split()[: partial.stable_words]
    assert partial.stable_words >= 4


def test_an_idle_session_is_told_its_limit() -> None:
    async def scenario() -> None:
        async with hub_over(FakeRecognizer(), limits=SessionLimits(idle_s=0.2)) as hub:
            start = time.monotonic()
            session = await hub.open(StreamOptions(), NEVER)
            with pytest.raises(LimitError, match=r"no audio came: 0\.2 s"):
                await finals(session)
            assert time.monotonic() - start >= 0.2

    asyncio.run(scenario())


def test_a_session_beyond_its_longest_is_told_so() -> None:
    async def scenario() -> None:
        async with hub_over(FakeRecognizer(), limits=SessionLimits(duration_s=0.5)) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            for _ in range(6):
                await session.feed(ones(100))
            with pytest.raises(LimitError, match="too long"):
                await session.feed(ones(100))

    asyncio.run(scenario())


def test_audio_after_the_end_is_refused() -> None:
    async def scenario() -> None:
        async with hub_over(FakeRecognizer()) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            session.end()
            session.end()
            with pytest.raises(SessionEndedError):
                await session.feed(ones(10))
            with pytest.raises(SessionEndedError):
                session.finalize()

    asyncio.run(scenario())


def test_a_session_that_is_closed_gives_its_place_back() -> None:
    async def scenario() -> None:
        recognizer = FakeRecognizer()
        async with hub_over(recognizer, admission=AdmissionRules(max_duty=None, max_streams=1)) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            await session.feed(ones(1000))
            with pytest.raises(RefusedError, match="limit 1"):
                await hub.open(StreamOptions(), NEVER)
            assert hub.live == 1
            session.close()
            session.close()
            assert await finals(session) == []
            other = await hub.open(StreamOptions(), NEVER)
            assert len(recognizer.open_streams) == 1
            other.close()

    asyncio.run(scenario())


def test_a_client_that_comes_back_in_time_goes_on_where_it_stopped() -> None:
    async def scenario() -> None:
        samples = noise(3.0, 7)
        async with hub_over(load_null()) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            await session.feed(samples[:20_000])
            hub.detach(session)
            await until(lambda: session.stream.buffer.samples < session.stream.buffer.chunk)
            again = hub.resume(session.token)
            reader = asyncio.create_task(finals(again))
            assert again.received == 20_000
            await again.feed(samples[again.received :])
            again.end()
            (final,) = await reader
        assert final.text == file_text(samples)

    asyncio.run(scenario())


def test_a_client_that_comes_back_too_late_or_unasked_is_refused() -> None:
    async def scenario() -> None:
        async with hub_over(FakeRecognizer(), limits=SessionLimits(grace_s=0.05)) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            with pytest.raises(ResumeError):
                hub.resume(session.token)
            hub.detach(session)
            await until(lambda: hub.live == 0)
            with pytest.raises(ResumeError):
                hub.resume(session.token)

    asyncio.run(scenario())


def test_draining_waits_for_open_sessions_and_lets_none_in() -> None:
    async def scenario() -> None:
        async with hub_over(FakeRecognizer()) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            assert not await hub.drain(0.05)
            with pytest.raises(EngineError, match="shutting down"):
                await hub.open(StreamOptions(), NEVER)
            waiting = asyncio.create_task(hub.drain(WAIT_S))
            reader = asyncio.create_task(finals(session))
            await session.feed(ones(50))
            session.end()
            assert len(await reader) == 1
            assert await waiting

    asyncio.run(scenario())


def test_stopping_tells_the_sessions_that_are_left() -> None:
    async def scenario() -> list[object]:
        async with hub_over(FakeRecognizer()) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            await hub.stop()
            return [event async for event in session.events()]

    (event,) = asyncio.run(scenario())
    assert isinstance(event, Failed)
    assert "shutting down" in str(event.error)


class Defective(FakeRecognizer):
    def _advance(self, feed: Feed) -> Hypothesis | StreamFailure:
        raise KeyError(feed.stream)


def test_a_defect_in_the_engine_fails_its_streams_with_its_name_and_not_the_thread() -> None:
    async def scenario() -> list[object]:
        async with hub_over(Defective()) as hub:
            session = await hub.open(StreamOptions(), NEVER)
            await session.feed(ones(100))
            events: Sequence[object] = [event async for event in session.events()]
            again = await hub.open(StreamOptions(), NEVER)
            again.close()
            return list(events)

    (event,) = asyncio.run(scenario())
    assert isinstance(event, Failed)
    assert "KeyError" in str(event.error)


def test_capacity_is_known_from_calibration_before_the_first_client() -> None:
    async def scenario() -> None:
        recognizer = FakeRecognizer(tell=lambda feeds: time.sleep(0.002 * len(feeds)))
        async with hub_over(recognizer, admission=AdmissionRules(max_duty=0.8)) as hub:
            assert isinstance(hub.engine, LocalEngine)
            await hub.engine.calibrate(ones(1000))
            assert recognizer.open_streams == {}
            capacity = hub.engine.capacity(100)
            assert capacity is not None
            assert 1 <= capacity <= 50

    asyncio.run(scenario())
