"""SIGTERM with many streams of all dialects live: they finish, or are told; nobody new is let in; the status is 0."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from auricle.client.dialects import live
from tests.serve.faults import (
    DIALECTS,
    HEALTHY,
    UNBOUNDED,
    WAIT_S,
    WORKERS,
    play_healthy,
    target_of,
    until_live,
    until_ready,
)
from tests.serve.test_app_process import POSIX, serving

if TYPE_CHECKING:
    from auricle.client.events import StreamRecord
    from tests.serve.test_app_process import Process

pytestmark = POSIX
MOST_S = 25.0
"""Less than the streams would take by themselves."""


async def stop_amid_streams(process: Process, seconds: float) -> list[StreamRecord]:
    """Tell the server to stop while streams play, see that it lets nobody in, and play on to the end."""
    playing = asyncio.create_task(play_healthy(process.url, seconds, speed=2.0))
    await until_live(process.url, lambda live: live >= HEALTHY)
    process.popen.send_signal(signal.SIGTERM)
    await until_ready(process.url, 503)
    for dialect in DIALECTS:
        words = live(dialect)(target_of(process.url, dialect), 24_000 if dialect == "openai-realtime" else 16_000)
        with pytest.raises(InvalidStatus, match="503"):
            async with connect(words.address().url):
                pass
    return await playing


@pytest.mark.parametrize("workers", WORKERS)
def test_streams_of_every_dialect_finish_with_their_text(workers: str) -> None:
    with serving(*UNBOUNDED, "--workers", workers) as process:
        records = asyncio.run(stop_amid_streams(process, seconds=12.0))
        assert [record.outcome for record in records] == ["complete"] * HEALTHY
        assert process.popen.wait(WAIT_S) == 0
    assert not [line for line in process.lines if "Traceback" in line]


@pytest.mark.parametrize("workers", WORKERS)
def test_streams_that_do_not_finish_in_time_are_told_in_every_dialect(workers: str) -> None:
    with serving(*UNBOUNDED, "--workers", workers, "--set", "drain_s=6") as process:
        begin_s = time.monotonic()
        records = asyncio.run(stop_amid_streams(process, seconds=60.0))
        assert time.monotonic() - begin_s < MOST_S
        assert [record.outcome for record in records] == ["failed"] * HEALTHY
        assert all("shutting down" in str(record.error) for record in records)
        assert process.popen.wait(WAIT_S) == 0
    assert not [line for line in process.lines if "Traceback" in line]
