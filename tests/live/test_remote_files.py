"""Files over a Unix socket: recognised, refused, given up, and left alone by their engine."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from auricle.audio import Audio
from auricle.engines import null
from auricle.engines.contract import TranscribeOptions
from auricle.errors import CancelledError, EngineCrashedError, EngineError, UnsupportedError
from auricle.live.remote import RemoteRecognizer
from tests.live.fakes import RATE, FakeRecognizer
from tests.live.remote_helpers import UNIX, hosting
from tests.live.sessions import WAIT_S, load_null, noise, ones

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auricle.transcript import Transcript

pytestmark = UNIX


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
