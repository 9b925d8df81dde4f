"""Live sessions and files over a Unix socket: an engine's host and its front-ends, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.audio import Audio
from auricle.engines import null
from auricle.engines.contract import LoadOptions, StreamOptions, TranscribeOptions
from auricle.errors import CancelledError, EngineCrashedError, EngineError, UnsupportedError
from auricle.live.admission import AdmissionRules, RefusedError
from auricle.live.endpoint import EndpointRules
from auricle.live.engine import LocalEngine
from auricle.live.events import Failed, Final, Partial
from auricle.live.host import EngineHost
from auricle.live.hub import HubRules, LiveHub
from auricle.live.remote import CHUNKS_AHEAD, RemoteEngine, RemoteRecognizer
from auricle.live.session import SessionLimits
from auricle.live.wire import LENGTH, EventPacker, EventReader, encode, portable
from auricle.trace import Tracer
from auricle.transcript import Transcript, Word
from tests.live.fakes import RATE, FakeRecognizer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from auricle.engines.contract import Feed, StreamingRecognizer
    from auricle.live.events import Event
    from auricle.live.session import Session

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
NEVER = EndpointRules(None, None, None)
UNBOUNDED = AdmissionRules(max_duty=None)
WAIT_S = 10.0


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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine.sock"


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
            await until(lambda: one.load().streams == 3 and one.engine.capacity(100) is not None)
            assert other.load() == one.load()
            assert other.engine.capacity(100) == one.engine.capacity(100)
            assert one.load().duty > 0

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
            await asyncio.sleep(0.3)
            assert not feeder.done()
            assert session.full
            assert session.received <= 1.3 * RATE + CHUNKS_AHEAD * 100
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
        os.urandom(100_000),
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


def test_files_are_recognised_in_the_other_process_with_the_same_text(path: Path) -> None:
    async def scenario() -> list[Transcript]:
        async with hosting(path, load_null()):
            recognizer = await asyncio.to_thread(RemoteRecognizer, path)
            assert recognizer.info == load_null().info
            return await asyncio.to_thread(recognizer.transcribe, batch, options)

    batch = [Audio(noise(seconds, 3), null.SAMPLE_RATE) for seconds in (0.3, 61.0)]
    options = TranscribeOptions(word_times=True)
    assert asyncio.run(scenario()) == load_null().transcribe(batch, options)


class Files(FakeRecognizer):
    """Raises what it is told to, or waits until it is cancelled."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error
        self.entered = threading.Event()
        self.cancelled = threading.Event()

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        self.entered.set()
        if self.error is not None:
            raise self.error
        assert cancel is not None
        assert cancel.wait(WAIT_S)
        self.cancelled.set()
        raise CancelledError(f"{len(batch)} {options}")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UnsupportedError("keywords are not honoured", ("a",), "leave them out"), UnsupportedError),
        (KeyError("defect"), EngineError),
    ],
)
def test_what_the_engine_raises_for_a_file_is_raised_here(path: Path, error: Exception, told: type[Exception]) -> None:
    async def scenario() -> None:
        async with hosting(path, Files(error)):
            recognizer = await asyncio.to_thread(RemoteRecognizer, path)
            with pytest.raises(told, match=r"keywords|defect"):
                await asyncio.to_thread(recognizer.transcribe, [Audio(ones(10), RATE)], TranscribeOptions())

    asyncio.run(scenario())


def test_a_file_that_is_given_up_here_is_given_up_there(path: Path) -> None:
    async def scenario() -> None:
        engine, cancel = Files(), threading.Event()
        async with hosting(path, engine):
            recognizer = await asyncio.to_thread(RemoteRecognizer, path)
            batch = [Audio(ones(10), RATE)]
            work = asyncio.create_task(asyncio.to_thread(recognizer.transcribe, batch, TranscribeOptions(), cancel))
            assert await asyncio.to_thread(engine.entered.wait, WAIT_S)
            cancel.set()
            with pytest.raises(CancelledError):
                await work
            assert await asyncio.to_thread(engine.cancelled.wait, WAIT_S)

    asyncio.run(scenario())


def test_a_file_whose_engine_goes_away_is_told_so(path: Path) -> None:
    async def scenario() -> None:
        engine = Files()
        async with hosting(path, engine) as host:
            recognizer = await asyncio.to_thread(RemoteRecognizer, path)
            batch = [Audio(ones(10), RATE)]
            work = asyncio.create_task(asyncio.to_thread(recognizer.transcribe, batch, TranscribeOptions()))
            assert await asyncio.to_thread(engine.entered.wait, WAIT_S)
            await host.stop()
            with pytest.raises(EngineCrashedError):
                await work
        with pytest.raises(EngineCrashedError):
            recognizer.transcribe(batch, TranscribeOptions())

    asyncio.run(scenario())


def words(*texts: str) -> tuple[Word, ...]:
    return tuple(Word(text, index / 2, index / 2 + 0.5, 0.9) for index, text in enumerate(texts))


def test_events_are_read_as_they_were_packed_though_known_words_are_not_sent_again() -> None:
    events: list[Event] = [
        Partial("a", words("a"), 0, (), 0.5),
        Partial("a b", words("a", "b"), 1, ("a",), 1.0),
        Partial("a c d", words("a", "c", "d"), 1, (), 1.5),
        Final("a c", words("a", "c"), 0.0, 2.0, None),
        Partial("", (), 0, (), 2.1),
        Failed(EngineError("what", 1, "remedy")),
    ]
    packer, reader = EventPacker(), EventReader()
    read = [reader.read(packer.pack(event)) for event in events]
    assert read[:-1] == events[:-1]
    assert isinstance(read[-1], Failed)
    assert str(read[-1].error) == "what: 1 (hint: remedy)"
    fresh = EventPacker()
    first, again = (len(encode([fresh.pack(events[2])])) for _ in range(2))
    assert again < first


def test_an_error_that_cannot_be_pickled_is_told_in_words() -> None:
    told = portable(UnsupportedError("what", threading.Lock(), "remedy"))
    assert type(told) is EngineError
    assert str(told).startswith("what: <unlocked _thread.lock")
