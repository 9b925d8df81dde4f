from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auricle.errors import UsageError
from auricle.report.compare import Smallest, compare_sides
from auricle.report.gate import Gate, fails, false_alarms, judge, lines, read_gate
from auricle.report.sides import open_side
from tests.report.conftest import SPOKEN, passes
from tests.report.made_runs import make_run

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.bench.records import Run
    from auricle.report.gate import Judged
    from auricle.report.sides import Side

GATE = Gate({"total": 0.1, "wer": 0.005})


def judged(run: Run, gate: Gate = GATE, arms: tuple[str, str] = ("quick", "slow")) -> tuple[list[Judged], list[Side]]:
    sides = [open_side([(run, arm)], arm) for arm in arms]
    return judge(gate, compare_sides(sides, Smallest(), "basic")[0]), sides


def test_a_time_beyond_its_margin_fails(two_arms: Run) -> None:
    found, _ = judged(two_arms)
    assert {one.key: one.outcome for one in found}["total"] == "fails"
    assert fails(GATE, found)


def test_what_is_better_is_within_the_margin(two_arms: Run) -> None:
    found, _ = judged(two_arms, arms=("slow", "quick"))
    assert {one.key: one.outcome for one in found}["total"] == "within the margin"


def test_worse_by_less_than_the_margin_does_not_fail(two_arms: Run) -> None:
    gate = Gate({"total": 0.5})
    found, _ = judged(two_arms, gate)
    assert [one.outcome for one in found] == ["within the margin"]
    assert not fails(gate, found)


def test_a_gate_that_measured_nothing_fails(two_arms: Run) -> None:
    gate = Gate({"final": 0.1})
    found, _ = judged(two_arms, gate)
    assert [one.outcome for one in found] == ["not measured"]
    assert fails(gate, found)
    assert fails(gate, [])


def test_the_undecided_fail_where_the_gate_says_so(two_arms: Run) -> None:
    found, _ = judged(two_arms, Gate({"wer": 0.0001}), ("quick", "slow"))
    assert [one.outcome for one in found] == ["undecided"]
    assert not fails(Gate({"wer": 0.0001}), found)
    assert fails(Gate({"wer": 0.0001}, undecided_fails=True), found)


def test_the_same_build_against_itself_seldom_fails(two_arms: Run) -> None:
    found, (a, b) = judged(two_arms)
    alarms = false_alarms(GATE, a, b, trials=80)
    assert alarms.trials == 80
    assert alarms.failed <= 5
    assert "false alarms, the baseline against itself" in "\n".join(lines(GATE, found, alarms))


def test_pairs_of_real_runs_of_the_baseline_are_counted(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, {"x": passes(6, 1.0, 0.01, seed)}, SPOKEN) for seed in range(4)]
    a, b = (open_side([(run, "x") for run in some], "side") for some in (runs[:3], runs[3:]))
    compare_sides([a, b], Smallest(), "basic")
    alarms = false_alarms(GATE, a, b, trials=5)
    assert (alarms.pairs, alarms.pairs_failed) == (3, 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no margins"),
        ("[margins]\n", "no margins"),
        ("[margins]\ntotal = 3", "not a margin: total"),
        ("[margins]\nwer_percent = 3", "not a margin: wer_percent"),
        ("[margins]\ntotal_points = 3", "not a margin: total_points"),
        ("[margins]\ntotal_percent = 0", "above 0"),
        ("[margins]\ntotal_percent = true", "above 0"),
        ("undecided = 'maybe'\n[margins]\ntotal_percent = 1", "pass or fail"),
        ("mode = 1\n[margins]\ntotal_percent = 1", "unknown in a gate"),
        ("[margins", "cannot be read"),
    ],
)
def test_a_gate_that_is_not_understood_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        read_gate(path)


def test_a_gate_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text("undecided = 'fail'\n[margins]\nwer_points = 0.5\ntotal_percent = 10\n'final@8_percent' = 20\n")
    assert read_gate(path) == Gate({"wer": 0.005, "total": 0.1, "final@8": 0.2}, undecided_fails=True)
