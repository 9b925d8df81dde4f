"""The search for capacity against planted ones: with noisy probes and no server, and by the command on a server."""

from __future__ import annotations

import math
import random
from statistics import median
from typing import TYPE_CHECKING

import pytest

from auricle.bench.live.capacity import Capacity, Probe, search
from tests.bench.planted_runs import sweep
from tests.bench.planted_server import Level, Plan
from tests.bench.planted_speech import Shape
from tests.bench.test_live_recomputed import check

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from auricle.bench.live.capacity import Answer
    from auricle.bench.live.slo import Verdict

SEARCHES = 100
COVERED = 95
MOST_PLANTED = 300
MOST_PROBES = 120
BREAKS_AT = 6
Z95 = 1.96
OPPOSITE: dict[Verdict, Verdict] = {"pass": "fail", "fail": "pass", "undecided": "undecided"}


def find(judge: Callable[[int, int], Answer], start: int) -> Capacity:
    """Run a search to its end."""
    answers: list[Capacity] = []

    def asking() -> Generator[Probe, Answer, None]:
        answers.append((yield from search(start)))

    running = asking()
    probe = next(running, None)
    for _ in range(MOST_PROBES):
        if probe is None:
            return answers[0]
        try:
            probe = running.send(judge(probe.live, probe.effort))
        except StopIteration:
            probe = None
    pytest.fail(f"no answer after {MOST_PROBES} probes")


def noisy(capacity: int, rng: random.Random, spread: float, wrong: float) -> Callable[[int, int], Verdict]:
    """Judge as an interval does: the distance from the capacity is seen with an error that more time makes smaller.

    At one effort more, a probe lasts twice as long. A share of `wrong` probes says the opposite of what it saw.
    """

    def judge(live: int, effort: int) -> Verdict:
        error = spread / math.sqrt(2**effort)
        seen = math.log(live / (capacity + 0.5)) + rng.gauss(0, error)
        verdict: Verdict = "undecided"
        if seen + Z95 * error < 0:
            verdict = "pass"
        elif seen - Z95 * error > 0:
            verdict = "fail"
        return OPPOSITE[verdict] if rng.random() < wrong else verdict

    return judge


def planted(seed: int) -> tuple[random.Random, int]:
    """Return a capacity, as likely between 1 and 10 as between 10 and 100."""
    rng = random.Random(seed)
    return rng, round(math.exp(rng.uniform(0, math.log(MOST_PLANTED))))


@pytest.mark.parametrize("start", [1, 8])
@pytest.mark.parametrize(("spread", "wrong"), [(0.0, 0.0), (0.05, 0.0), (0.2, 0.0), (0.4, 0.0), (0.1, 0.03)])
def test_the_interval_covers_the_planted_capacity(start: int, spread: float, wrong: float) -> None:
    covered, widths = 0, []
    for seed in range(SEARCHES):
        rng, capacity = planted(seed)
        found = find(noisy(capacity, rng, spread, wrong), start)
        high = math.inf if found.high is None else found.high
        covered += found.low <= capacity <= high
        widths.append((high - found.low) / capacity)
    assert covered >= COVERED
    assert median(widths) <= 0.05 + 2.5 * spread  # an interval that says nothing covers everything


def test_without_noise_the_interval_is_as_fine_as_it_can_be() -> None:
    for seed in range(SEARCHES):
        rng, capacity = planted(seed)
        found = find(noisy(capacity, rng, 0.0, 0.0), 1)
        assert found.low <= capacity
        assert found.high is not None
        assert found.high - found.low <= max(1, round(0.06 * capacity))


def test_a_server_that_holds_everything_has_no_upper_end() -> None:
    found = find(lambda _live, _effort: "pass", 1)
    assert found.high is None
    assert found.low > 1000


def test_a_server_that_holds_nothing_has_no_capacity() -> None:
    found = find(lambda _live, _effort: "fail", 8)
    assert (found.low, found.high) == (0, 0)


def test_probes_that_decide_nothing_give_no_capacity() -> None:
    found = find(lambda _live, _effort: "undecided", 1)
    assert (found.low, found.high) == (0, None)


@pytest.mark.parametrize("limit", [1, 2, 3, 17, 40])
@pytest.mark.parametrize("capacity", [1, 20, 300])
def test_a_client_that_is_late_neither_passes_nor_fails_the_server(limit: int, capacity: int) -> None:
    """From `limit` streams on every probe is void; the server holds `capacity`."""
    asked: list[int] = []

    def judge(live: int, _effort: int) -> Answer:
        asked.append(live)
        if live >= limit:
            return "void"
        return "pass" if live <= capacity else "fail"

    found = find(judge, 2)
    assert found.low == min(capacity, limit - 1) or limit - found.low <= max(1, round(0.06 * limit))
    assert found.high == (capacity if capacity < limit - 1 else None)
    assert found.void is None or found.void >= limit
    assert max(asked) <= max(2, 2 * limit)


def test_a_void_probe_is_repeated_at_once_and_changes_no_answer() -> None:
    asked: list[int] = []

    def judge(live: int, _effort: int) -> Answer:
        asked.append(live)
        if asked.count(live) == 1:
            return "void"
        return "pass" if live <= 20 else "fail"

    found = find(judge, 2)
    assert asked[:4] == [2, 2, 4, 4]
    assert (found.void, found.low, found.high) == (None, 20, 20)


@pytest.mark.slow
def test_the_command_finds_the_planted_breaking_point(tmp_path: Path) -> None:
    bounds = tmp_path / "bounds.toml"
    bounds.write_text("final_p95_ms = false\nwer_margin_points = false\nlate_ms = 1000\nlate_share = 0.05\n")
    plan = Plan({0: Level(), BREAKS_AT: Level(delay_s=(2.0, 2.5))}, hold_s=0.1)
    options = ["--find-capacity", "2", "--seconds", "5", "--no-reference", "--slo", str(bounds)]
    measured = sweep(tmp_path, plan, *options, shape=Shape(words=4, lead_s=0.2))
    (found,) = measured.run.info["capacity"].values()
    assert found["low"] <= BREAKS_AT - 1 <= found["high"]
    assert found["high"] - found["low"] <= 1
    probes = [level for level in measured.run.info["levels"] if level["phase"] == "probe"]
    assert found["probes"] == len(probes)
    assert (found["low"], "pass") in [(level["live"], level["slo"]["verdict"]) for level in probes]
    assert (found["high"] + 1, "fail") in [(level["live"], level["slo"]["verdict"]) for level in probes]
    check(measured.run)
