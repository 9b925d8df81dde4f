"""Fleets: random phase, churn, bounds, and a certificate that tells when the client was the bottleneck."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from auricle.client.clips import make_clip
from auricle.client.dialects.base import Target
from auricle.client.fleet import Concurrency, FleetResult, FleetSettings, Poisson, run_fleet
from auricle.errors import UsageError
from tests.client.leaping import run_leaping
from tests.client.servers import Planted, noise, serving

if TYPE_CHECKING:
    from tests.client.leaping import LeapingLoop

SLACK_MS = 2
"""Timers count in milliseconds, rounded up; nothing else takes time here."""


def fleet(
    planted: Planted,
    arrivals: Concurrency | Poisson,
    streams: int,
    block_s: float = 0.0,
    seconds: float = 0.5,
    **settings: Any,
) -> FleetResult:
    """Run a fleet over three recordings; the event loop is blocked once, after half a second, for `block_s`."""

    async def main(loop: LeapingLoop) -> FleetResult:
        async with serving("deepgram", planted) as url:
            target = Target(url=url, dialect="deepgram")
            clips = [make_clip(noise(seconds, seed), target) for seed in range(3)]
            wanted = FleetSettings(
                target=target, arrivals=arrivals, streams=streams, **{"stop_after_s": 20.0, **settings}
            )
            assert pickle.loads(pickle.dumps(wanted)) == wanted  # noqa: S301  our own
            loop.call_later(0.5, loop.block, block_s)
            return await run_fleet(wanted, clips, loop.time)

    return run_leaping(main)


def test_so_many_are_live_at_all_times_until_all_were_played() -> None:
    result = fleet(Planted(), Concurrency(4, ramp_s=0.1), 12)
    assert [record.outcome for record in result.records] == ["complete"] * 12
    assert result.certificate.most_live == 4
    starts = [(record.connect_s, 1) for record in result.records]
    ends = [(record.closed_s, -1) for record in result.records]
    live = np.cumsum([change for _, change in sorted(starts + ends)])
    assert live.max() == 4


def test_every_recording_is_played_before_one_repeats() -> None:
    result = fleet(Planted(), Concurrency(1, ramp_s=0), 9, speed=20.0)
    clips = [record.clip for record in result.records]
    assert [sorted(clips[start : start + 3]) for start in (0, 3, 6)] == [["noise-0", "noise-1", "noise-2"]] * 3


def test_streams_start_at_random_phases_of_the_chunk() -> None:
    result = fleet(Planted(), Concurrency(40, ramp_s=0), 40)
    phases = sorted(record.due_s[0] % 0.1 for record in result.records)
    gaps = [after - before for before, after in pairwise(phases)]
    assert phases[-1] - phases[0] > 0.08
    assert max(gaps) < 0.03


def test_the_same_seed_gives_the_same_load_and_another_another() -> None:
    orders = [
        [record.clip for record in fleet(Planted(), Concurrency(1, ramp_s=0), 9, speed=50.0, seed=seed).records]
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_arrivals_are_poisson() -> None:
    result = fleet(Planted(), Poisson(per_s=150.0, most=150), 200, speed=20.0)
    starts = sorted(record.connect_s or 0.0 for record in result.records)
    gaps = np.diff(starts)
    assert len(result.records) == 200
    assert gaps.mean() == pytest.approx(1 / 150, rel=0.3)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.4)


def test_arrivals_beyond_the_bound_are_skipped_and_counted() -> None:
    result = fleet(Planted(), Poisson(per_s=100.0, most=3), 50)
    assert result.certificate.most_live == 3
    assert result.skipped > 0
    assert len(result.records) + result.skipped == 50


def test_none_starts_after_the_time_and_those_that_run_are_finished() -> None:
    result = fleet(Planted(), Concurrency(2, ramp_s=0), 1000, start_for_s=0.7)
    assert {record.outcome for record in result.records} == {"complete"}
    assert len(result.records) == 4


def test_the_load_is_kept_up_until_those_that_count_have_ended() -> None:
    result = fleet(Planted(), Concurrency(3, ramp_s=0), 1000, seconds=0.9, start_for_s=1.0, keep_load=True)
    counted = [record for record in result.records if record.counted]
    extra = [record for record in result.records if not record.counted]
    assert {record.outcome for record in counted} == {"complete"}
    assert "cancelled" in {record.outcome for record in extra}
    last_s = max(record.closed_s or 0.0 for record in counted)
    assert all((record.connect_s or 0.0) <= last_s for record in extra)
    began_s = min(record.connect_s or 0.0 for record in result.records)
    assert all((record.connect_s or 0.0) - began_s < 1.0 for record in counted)


def test_arrivals_go_on_until_those_that_count_have_ended() -> None:
    result = fleet(Planted(), Poisson(per_s=20.0, most=100), 1000, seconds=0.9, start_for_s=1.0, keep_load=True)
    counted = [record for record in result.records if record.counted]
    assert {record.outcome for record in counted} == {"complete"}
    assert len(counted) < len(result.records) < 100


def test_all_are_cut_off_in_the_end_and_their_records_kept() -> None:
    result = fleet(Planted(), Concurrency(3, ramp_s=0), 3, seconds=10.0, stop_after_s=0.6)
    assert [record.outcome for record in result.records] == ["cancelled"] * 3
    assert all(3 <= len(record.sent_s) <= 6 for record in result.records)


def test_refused_streams_are_kept_apart_and_do_not_hammer_the_server() -> None:
    planted = Planted(refuse=503, headers={"Retry-After": "1"})
    result = fleet(planted, Concurrency(2, ramp_s=0), 100, start_for_s=1.5)
    assert {record.outcome for record in result.records} == {"refused"}
    assert len(planted.requests) == 4


def test_the_certificate_of_a_client_on_time() -> None:
    certificate = fleet(Planted(), Concurrency(5, ramp_s=0.1), 5, seconds=10.0, speed=4.0).certificate
    assert (certificate.chunks, certificate.held) == (500, 0)
    assert certificate.late_p50_ms is not None
    assert certificate.late_p99_ms is not None
    assert 0 <= certificate.late_p50_ms <= certificate.late_p99_ms < SLACK_MS
    assert certificate.cpu > 0
    assert certificate.loop == "tests"


def test_the_certificate_tells_of_a_client_that_stood_still() -> None:
    certificate = fleet(Planted(), Concurrency(5, ramp_s=0.1), 5, seconds=2.0, block_s=0.4).certificate
    assert certificate.late_max_ms is not None
    assert 300 < certificate.late_max_ms <= 400 + SLACK_MS  # what was due in the first chunk's time of the 400 ms


def test_a_percentile_without_enough_chunks_is_not_told() -> None:
    assert fleet(Planted(), Concurrency(1, ramp_s=0), 1).certificate.late_p99_ms is None


def test_what_the_server_cannot_be_asked_for_is_refused() -> None:
    target = Target(url="ws://127.0.0.1:1/", dialect="sherpa")
    clips = [make_clip(noise(0.1), target)]
    settings = FleetSettings(
        target=replace(target, model="m"), arrivals=Concurrency(2, ramp_s=0), streams=2, stop_after_s=1
    )
    with pytest.raises(UsageError, match="model"):
        asyncio.run(run_fleet(settings, clips))


def test_a_fleet_without_recordings_is_refused() -> None:
    settings = FleetSettings(
        target=Target(url="ws://127.0.0.1:1/", dialect="deepgram"), arrivals=Concurrency(1), streams=1, stop_after_s=1
    )
    with pytest.raises(UsageError):
        asyncio.run(run_fleet(settings, []))
