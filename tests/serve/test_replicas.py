"""`auricle serve --replicas 2`: two engine processes behind one front-end; what one of them does concerns no other."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosedError

from auricle.engines.fastconformer_device import MEMORY_SHARE, slots_of_replica
from auricle.engines.pool import usable_cpus
from auricle.errors import EngineError
from auricle.serve.settings import load_settings
from auricle.serve.supervisor import check_memory
from auricle.serve.task import Ready
from tests.serve.test_app_process import post, serving
from tests.serve.test_workers import TEXT, children, eventually, figures, finish, listen, live

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems share one listening socket")
TWO = ("--engine", "null", "--replicas", "2", "--admission", "off", "--set", "skip_silence=no")
GIB = 1 << 30


def by_replica(name: str, seen: dict[tuple[str, ...], float]) -> list[float]:
    return [seen[name, number] for number in ("0", "1")]


@linux
def test_a_killed_replica_takes_its_own_streams_with_it_and_is_replaced() -> None:
    with serving(*TWO) as process:
        assert any("2 replicas x 1 threads" in line for line in process.lines)
        with ExitStack() as stack:
            streams = [stack.enter_context(listen(process)) for _ in range(6)]
            eventually(lambda: live(process) == 6)
            seen = figures(process)
            shares = by_replica("auricle_replica_streams", seen)
            assert sum(shares) == 6
            assert min(shares) >= 1
            assert by_replica("auricle_replica_up", seen) == [1, 1]
            assert all(busy_s > 0 for busy_s in by_replica("auricle_replica_step_seconds_total", seen))
            engines = children(process, "engine")
            assert len(engines) == 2
            engines[0].kill()
            outcomes = []
            for stream in streams:
                try:
                    outcomes.append(finish(stream))
                except (ConnectionClosedError, json.JSONDecodeError, KeyError):
                    outcomes.append("")
            assert set(outcomes) == {"", TEXT}
            assert outcomes.count("") in shares
        for _ in range(3):
            assert post(process.url).status_code == 200  # whichever replica is there
        eventually(lambda: by_replica("auricle_replica_up", figures(process)) == [1, 1])
        with listen(process) as one, listen(process) as other:
            assert by_replica("auricle_replica_up", figures(process)) == [1, 1]
            assert {finish(one), finish(other)} == {TEXT}
        assert process.end(signal.SIGTERM) == 0
    assert [line for line in process.lines if "engine (replica" in line and "ended with status -9" in line]
    assert not [line for line in process.lines if "Traceback" in line]


def test_replicas_that_do_not_fit_are_refused_with_the_number_that_does() -> None:
    with pytest.raises(EngineError, match=r"4 of 2048 MiB, 5120 MiB left beside the first.*use --replicas 3"):
        check_memory(4, Ready("", 2 * GIB, 5 * GIB))
    check_memory(3, Ready("", 2 * GIB, 5 * GIB))
    check_memory(1, Ready("", 2 * GIB, 0))


def test_replicas_on_a_card_have_equal_parts_of_it_whichever_was_loaded_first() -> None:
    total, weights, per_slot = 80 * GIB, 4 * GIB, GIB // 64
    alone = partial(slots_of_replica, total=total, held=weights, per_slot=per_slot)
    assert alone(total - weights, replicas=1) == int(MEMORY_SHARE * (total - weights)) // per_slot
    first = alone(total - weights, replicas=2)
    second = alone(total - 2 * weights - first * per_slot, replicas=2)
    assert first == second == int(MEMORY_SHARE * (total // 2 - weights)) // per_slot
    assert 2 * (weights + first * per_slot) < total
    with pytest.raises(EngineError, match="does not hold 24 replicas"):
        alone(total, replicas=24)


def test_replicas_on_the_cpu_have_equal_parts_of_its_cores_unless_told() -> None:
    cores = usable_cpus()
    assert load_settings({"replicas": cores}).request.threads == 1
    assert load_settings({"replicas": 4 * cores}).request.threads == 1
    assert load_settings({"replicas": 2, "threads": 3}).request.threads == 3
    assert load_settings({"replicas": 2, "device": "cuda"}).request.threads is None
    assert load_settings({}).request.threads is None
    assert load_settings({}).request.replicas == 1
