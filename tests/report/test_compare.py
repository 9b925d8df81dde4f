from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from auricle.errors import UsageError
from auricle.report.compare import Smallest, compare_sides, errors, timing
from auricle.report.sides import Heard, open_side
from auricle.report.surroundings import differences
from tests.report.conftest import SPOKEN, passes
from tests.report.made_runs import make_run, rewritten, utterances

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.bench.records import Run
    from auricle.report.compare import Timing

PILOT = 6
MOST_RUNS = 400


def test_an_arm_that_takes_longer_is_worse(two_arms: Run) -> None:
    sides = [open_side([(two_arms, arm)], arm) for arm in ("quick", "slow")]
    found = {one.key: one for one in compare_sides(sides, Smallest(), "basic")[0].timings}
    assert found["total"].verdict == "worse"
    assert found["total"].ratio.low < 1.3 < found["total"].ratio.high * 1.02
    assert found["total"].ratio.superiority == 1
    back = {
        one.key: one
        for one in compare_sides([_fresh(two_arms, "slow"), _fresh(two_arms, "quick")], Smallest(), None)[0].timings
    }
    assert back["total"].verdict == "better"


def _fresh(run: Run, arm: str) -> Any:
    return open_side([(run, arm)], arm)


def test_five_runs_say_nothing_however_far_apart() -> None:
    found = timing("total", "passes", [1.0, 1.1, 1.2, 1.3, 1.4], [9.0, 9.1, 9.2, 9.3, 9.4], 0.05)
    assert (found.verdict, found.more) == ("not enough", 1)


def test_no_difference_is_found_only_where_one_would_have_been() -> None:
    chance = random.Random(3)

    def judged(spread: float) -> Timing:
        one, other = ([chance.lognormvariate(0, spread) for _ in range(30)] for _ in range(2))
        return timing("total", "passes", one, other, 0.05)

    assert judged(0.01).verdict == "no difference found"
    found = judged(0.3)
    assert found.verdict == "not enough"
    assert (found.more or 0) > 100


def trial(chance: random.Random, slower: float, spread: float) -> str:
    """Measure two arms with the runs that are asked for, until there is a verdict."""
    a = [chance.lognormvariate(0, spread) for _ in range(PILOT)]
    b = [slower * chance.lognormvariate(0, spread) for _ in range(PILOT)]
    while True:
        found = timing("total", "passes", a, b, 0.1)
        if found.verdict != "not enough" or len(a) > MOST_RUNS:
            return found.verdict
        assert found.more is not None
        a += [chance.lognormvariate(0, spread) for _ in range(found.more)]
        b += [slower * chance.lognormvariate(0, spread) for _ in range(found.more)]


@pytest.mark.parametrize("spread", [0.02, 0.05, 0.1])
def test_a_planted_tenth_is_found_with_the_runs_that_were_asked_for(spread: float) -> None:
    chance = random.Random(int(1000 * spread))
    found = [trial(chance, 1.1, spread) for _ in range(40)]
    assert found.count("worse") >= 38


def test_equal_arms_are_hardly_ever_told_apart() -> None:
    chance = random.Random(9)
    found = [trial(chance, 1.0, 0.05) for _ in range(50)]
    assert found.count("worse") + found.count("better") <= 6
    assert found.count("not enough") == 0


def heard(chance: random.Random, count: int, rate: float) -> dict[str, Heard]:
    return {
        f"u{number}": Heard(f"s{number % 40}", sum(chance.random() < rate for _ in range(10)), 10)
        for number in range(count)
    }


def test_a_planted_point_of_wer_is_found_on_a_corpus_that_is_large_enough() -> None:
    chance = random.Random(5)
    verdicts = []
    for number in range(20):
        a = heard(chance, 1500, 0.05)
        b = {name: Heard(one.block, one.errors + (chance.random() < 0.1), 10) for name, one in a.items()}
        found = errors("wer", a, b, 1.0, resamples=400, seed=number)
        assert found is not None
        verdicts.append(found.verdict)
    assert verdicts.count("worse") >= 19


def test_a_planted_point_of_wer_on_a_small_corpus_is_not_enough_data() -> None:
    chance = random.Random(6)
    verdicts = []
    for number in range(20):
        a, b = heard(chance, 40, 0.05), heard(chance, 40, 0.06)
        found = errors("wer", a, b, 1.0, resamples=400, seed=number)
        assert found is not None
        verdicts.append(found.verdict)
        if found.verdict == "not enough":
            assert (found.more or 0) > 100
    assert verdicts.count("not enough") >= 17


def test_only_what_both_sides_recognised_is_compared(tmp_path: Path) -> None:
    a = make_run(tmp_path, {"x": passes(6, 1.0, 0.01, 1)}, SPOKEN)
    b = make_run(tmp_path, {"x": [row[:8] for row in passes(6, 1.0, 0.01, 2)]}, SPOKEN[:8])
    found = compare_sides([_fresh(a, "x"), _fresh(b, "x")], Smallest(), "basic")[0]
    total = next(one for one in found.timings if one.key == "total")
    assert total.ratio.median_a == pytest.approx(8.0, rel=0.02)
    assert "compared over the 8 utterances that all share, of 12" in found.notes


def test_four_runs_a_side_are_four_values(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, {"x": passes(3, 1.0, 0.01, seed)}, SPOKEN) for seed in range(8)]
    sides = [open_side([(run, "x") for run in half], "half") for half in (runs[:4], runs[4:])]
    found = compare_sides(sides, Smallest(), "basic")[0]
    total = next(one for one in found.timings if one.key == "total")
    assert (total.unit, total.ratio.n_a, total.ratio.n_b) == ("runs", 4, 4)
    assert total.verdict == "not enough"
    assert total.more == 2


def test_what_cannot_be_compared_is_refused(tmp_path: Path, two_arms: Run) -> None:
    other = make_run(tmp_path, {"x": [[1.0] * 3] * 6}, [one | {"id": f"other{one['id']}"} for one in utterances(3)])
    with pytest.raises(UsageError, match="share no utterance"):
        compare_sides([_fresh(two_arms, "quick"), _fresh(other, "x")], Smallest(), None)
    with pytest.raises(UsageError, match="same record"):
        compare_sides([_fresh(two_arms, "quick"), _fresh(two_arms, "quick")], Smallest(), None)
    with pytest.raises(UsageError, match=r"has 2 arms.*quick, slow"):
        open_side([(two_arms, None)], "both")
    with pytest.raises(UsageError, match="no such arm"):
        _fresh(two_arms, "slower")


def test_differences_of_the_surroundings_are_listed(two_arms: Run, tmp_path: Path) -> None:
    surroundings = two_arms.info["environment"]
    changed = surroundings | {"cpu": surroundings["cpu"] | {"model": "another", "load_average": [9, 9, 9]}}
    other = rewritten(two_arms, tmp_path, lambda event: event, environment=changed)
    found = differences(_fresh(two_arms, "quick"), _fresh(other, "quick"))
    assert [(name, value) for name, _, value in found] == [("environment.cpu.model", "another")]


def test_a_run_that_began_on_a_busy_machine_is_named(two_arms: Run, tmp_path: Path) -> None:
    surroundings = two_arms.info["environment"]
    found = []
    for name, load in (("idle", 0.1), ("busy", 99.0)):
        cpu = surroundings["cpu"] | {"load_average": [load, load, load]}
        changed = surroundings | {"cpu": cpu}
        found.append(_fresh(rewritten(two_arms, tmp_path / name, lambda event: event, environment=changed), "quick"))
    notes = compare_sides(found, Smallest(), None)[0].notes
    assert sum("began on a busy machine (load 99.0" in note for note in notes) == 1
