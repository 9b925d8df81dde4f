"""Several engines as one, over real sockets: who is sent where, who is refused, and who notices that one is gone."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from auricle.audio import Audio
from auricle.engines.contract import StreamOptions, TranscribeOptions
from auricle.errors import EngineAbsentError, EngineCrashedError
from auricle.live.admission import AdmissionRules, RefusedError
from auricle.live.hub import LiveHub
from auricle.live.remote import RemoteEngine, RemoteRecognizer
from auricle.live.replicas import ReplicatedEngine, ReplicatedRecognizer
from auricle.transcript import Transcript
from tests.live.fakes import RATE, FakeRecognizer
from tests.live.remote_helpers import UNBOUNDED, UNIX, failure, hosting, speak
from tests.live.sessions import NEVER, WAIT_S, finals, load_null, ones, until

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from auricle.engines.contract import StreamingRecognizer
    from auricle.live.host import EngineHost

pytestmark = UNIX


class Named(FakeRecognizer):
    """Answers for files with its own name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        assert cancel is not None
        return [Transcript(self.name, audio.duration_s, (), options.language) for audio in batch]


@asynccontextmanager
async def replicated(
    folder: Path, *recognizers: StreamingRecognizer, rules: AdmissionRules = UNBOUNDED
) -> AsyncIterator[tuple[LiveHub, list[EngineHost], ReplicatedRecognizer]]:
    """A front-end with a host for each recogniser, its rules split among them."""
    paths = [folder / f"{number}.sock" for number in range(len(recognizers))]
    async with AsyncExitStack() as stack:
        hosts = [
            await stack.enter_async_context(hosting(path, one, rules.of_replica(number, len(paths))))
            for number, (path, one) in enumerate(zip(paths, recognizers, strict=True))
        ]
        engine = ReplicatedEngine([RemoteEngine(path) for path in paths])
        there = [await asyncio.to_thread(RemoteRecognizer, path, WAIT_S) for path in paths]
        recognizer = ReplicatedRecognizer(there, engine)
        hub = LiveHub(recognizer, engine=engine)
        stack.push_async_callback(hub.stop)
        await until(lambda: all(one.alive for one in engine.engines))
        yield hub, hosts, recognizer


def test_streams_that_come_at_once_are_spread_evenly(tmp_path: Path) -> None:
    async def scenario() -> None:
        fakes = [FakeRecognizer() for _ in range(3)]
        async with replicated(tmp_path, *fakes) as (hub, _, _):
            await asyncio.gather(*(hub.open(StreamOptions(), NEVER) for _ in range(12)))
            assert [len(fake.open_streams) for fake in fakes] == [4, 4, 4]
            await until(lambda: hub.load().streams == 12)

    asyncio.run(scenario())


def test_a_stream_goes_to_the_replica_whose_streams_have_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        fakes = [FakeRecognizer() for _ in range(2)]
        async with replicated(tmp_path, *fakes) as (hub, _, _):
            engine = hub.engine
            assert isinstance(engine, ReplicatedEngine)
            sessions = [await hub.open(StreamOptions(), NEVER) for _ in range(6)]
            await until(lambda: [one.load().streams for one in engine.engines] == [3, 3])
            for session in sessions[1::2]:
                session.close()
            await until(lambda: [one.load().streams for one in engine.engines] == [3, 0])
            for _ in range(3):
                await hub.open(StreamOptions(), NEVER)
            assert [len(fake.open_streams) for fake in fakes] == [3, 3]

    asyncio.run(scenario())


def test_a_stream_is_refused_when_all_are_full_and_told_the_limit_of_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        fakes = [FakeRecognizer() for _ in range(2)]
        async with replicated(tmp_path, *fakes, rules=AdmissionRules(None, max_streams=5)) as (hub, _, _):
            for _ in range(5):
                await hub.open(StreamOptions(), NEVER)
            with pytest.raises(RefusedError, match="limit 5, observed 5 live streams"):
                await hub.open(StreamOptions(), NEVER)
            assert sorted(len(fake.open_streams) for fake in fakes) == [2, 3]
            assert hub.live == 5

    asyncio.run(scenario())


def test_sessions_over_two_replicas_hear_every_sample_once_and_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with replicated(tmp_path, load_null(), load_null()) as (hub, _, _):
            await asyncio.gather(*(speak(hub, seed) for seed in range(12)))

    asyncio.run(scenario())


def test_streams_of_a_replica_that_is_gone_are_told_and_the_others_go_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        fakes = [FakeRecognizer() for _ in range(2)]
        async with replicated(tmp_path, *fakes) as (hub, hosts, _):
            sessions = [await hub.open(StreamOptions(), NEVER) for _ in range(4)]
            await hosts[0].stop()
            for session in sessions[::2]:
                assert isinstance((await failure(session)).error, EngineCrashedError)
            assert hub.engine.alive
            sessions[0] = await hub.open(StreamOptions(), NEVER)
            for session in (sessions[0], sessions[1], sessions[3]):
                await session.feed(ones(100))
                session.end()
                (final,) = await finals(session)
                assert final.text.endswith("c0n100")
            assert len(fakes[1].consumed) == 3

    asyncio.run(scenario())


def test_when_no_replica_is_there_that_is_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with replicated(tmp_path, FakeRecognizer(), FakeRecognizer()) as (hub, hosts, recognizer):
            for host in hosts:
                await host.stop()
            await until(lambda: not hub.engine.alive)
            with pytest.raises(EngineCrashedError, match="no engine process is there"):
                await hub.open(StreamOptions(), NEVER)
            with pytest.raises(EngineAbsentError):
                await asyncio.to_thread(recognizer.transcribe, [Audio(ones(10), RATE)], TranscribeOptions())

    asyncio.run(scenario())


def test_a_file_goes_to_a_replica_that_is_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with replicated(tmp_path, Named("a"), Named("b")) as (_, hosts, recognizer):
            batch = [Audio(ones(10), RATE)]
            (heard,) = await asyncio.to_thread(recognizer.transcribe, batch, TranscribeOptions())
            assert heard.text == "a"
            await hosts[0].stop()
            (heard,) = await asyncio.to_thread(recognizer.transcribe, batch, TranscribeOptions())
            assert heard.text == "b"

    asyncio.run(scenario())


def test_places_are_those_of_all_replicas(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with replicated(tmp_path, FakeRecognizer(slots=3), FakeRecognizer(slots=4)) as (hub, _, _):
            assert hub.streaming.slots == 7

    asyncio.run(scenario())


@pytest.mark.parametrize(("streams", "replicas"), [(5, 2), (1, 3), (0, 2), (64, 7)])
def test_a_bound_on_streams_is_split_without_loss(streams: int, replicas: int) -> None:
    rules = AdmissionRules(0.5, streams)
    parts = [rules.of_replica(number, replicas) for number in range(replicas)]
    counts = [part.max_streams or 0 for part in parts]
    assert sum(counts) == streams
    assert max(counts) - min(counts) <= 1
    assert AdmissionRules(0.5).of_replica(0, replicas) == AdmissionRules(0.5)
