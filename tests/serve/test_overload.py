"""With five times the streams it can serve, the server keeps its word to those it let in and turns the others away."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from auricle.client.clips import make_clip
from auricle.client.dialects.base import Target
from auricle.client.fleet import Concurrency, FleetSettings, run_fleet
from auricle.engines import null
from auricle.engines.contract import LoadOptions
from auricle.trace import Tracer
from tests.client.servers import noise
from tests.serve.processors import MOST_OTHERS, Others

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.client.events import StreamRecord
    from auricle.engines.contract import Feed, StreamFailure
    from auricle.transcript import Hypothesis
    from tests.serve.conftest import Running, Start

FEED_S = 0.008
CHUNK_S = 0.08
CAPACITY = round(0.8 * CHUNK_S / FEED_S)
SLO_S = 0.5


class CostlyRecognizer(null.NullRecognizer):
    """The null engine on a device that takes 8 ms for every chunk of 80 ms: ten streams fill it, eight may."""

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        time.sleep(FEED_S * len(ready))
        return super().step(ready)


def skip_unless_alone(others: Others) -> None:
    """Leave out what depends on how long a step takes: on busy processors it takes longer than this engine does."""
    if others.share > MOST_OTHERS:
        pytest.skip(f"texts and refusals are right; others used {others.share:.0%} of the processors: no timing")


def drive(server: Running, streams: int) -> list[StreamRecord]:
    target = Target(url=f"{server.ws_url}/sherpa", dialect="sherpa")
    settings = FleetSettings(target=target, arrivals=Concurrency(streams, ramp_s=1.0), streams=streams, stop_after_s=60)
    return asyncio.run(run_fleet(settings, [make_clip(noise(4.0), target)])).records


def test_those_let_in_keep_their_latency_and_text_and_the_others_are_told_when_to_come_back(start: Start) -> None:
    info = null.ENGINE.load(LoadOptions(), Tracer()).info
    server = start(CostlyRecognizer(info, Tracer()), calibrate=True)
    with Others() as others:
        calm = drive(server, round(0.8 * CAPACITY))
        crowd = drive(server, 5 * CAPACITY)
    served = [record for record in crowd if record.outcome == "complete"]
    refused = [record for record in crowd if record.outcome == "refused"]
    assert len(served) + len(refused) == len(crowd)
    assert 1 <= len(served) <= CAPACITY + 1
    assert {record.text for record in served} == {record.text for record in calm if record.outcome == "complete"}
    assert all(record.retry_after_s for record in refused)
    assert all("limit 0.8, observed" in str(record.error) for record in refused)
    skip_unless_alone(others)
    assert {record.outcome for record in calm} == {"complete"}
    assert len(served) >= CAPACITY // 2
    assert max(record.heard_s[-1] - record.due_s[-1] for record in served) < SLO_S


class FixedCostRecognizer(null.NullRecognizer):
    """The null engine on a device that takes 6 ms for a step, whatever is in it, as accelerators do."""

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        time.sleep(0.006)
        return super().step(ready)


async def play(server: Running, streams: int, seconds: float) -> list[StreamRecord]:
    target = Target(url=f"{server.ws_url}/sherpa", dialect="sherpa")
    arrivals = Concurrency(streams, ramp_s=0.2)
    settings = FleetSettings(target=target, arrivals=arrivals, streams=streams, stop_after_s=60)
    return (await run_fleet(settings, [make_clip(noise(seconds), target)])).records


def test_many_may_come_at_once_after_few_on_an_engine_whose_steps_cost_the_same_whatever_is_in_them(
    start: Start,
) -> None:
    """Sixty-three streams keep such an engine busy for 30 % of the time, three for 23 %."""
    info = null.ENGINE.load(LoadOptions(), Tracer()).info
    server = start(FixedCostRecognizer(info, Tracer()), calibrate=True)

    async def scene() -> list[StreamRecord]:
        few = asyncio.create_task(play(server, 3, 5.0))
        await asyncio.sleep(3.0)
        return [*await play(server, 60, 1.0), *await few]

    with Others() as others:
        records = asyncio.run(scene())
    assert {record.outcome for record in records} <= {"complete", "refused"}
    skip_unless_alone(others)
    assert [record.error for record in records if record.outcome != "complete"] == []
