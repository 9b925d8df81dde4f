from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.report.conftest import SPOKEN, passes
from tests.report.made_runs import make_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

GATE = "[margins]\ntotal_percent = 10\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def names(root: Path) -> list[str]:
    """Three runs: the second like the first, the third slower by a third."""
    return [
        make_run(root, {"x": passes(8, seconds, 0.01, number)}, SPOKEN).id
        for number, seconds in enumerate((1.0, 1.0, 1.33))
    ]


def test_the_verdict_comes_first_and_differences_of_the_surroundings_second(
    auricle: Callable[..., Answer], root: Path, names: list[str]
) -> None:
    answer = auricle("compare", names[0], names[2], "--runs-folder", root)
    first, second, *_ = answer.out.splitlines()
    assert first.startswith(f"{names[2]} against {names[0]}: worse: total")
    assert second.startswith(("They differ in:", "Their surroundings do not differ."))
    assert answer.status == 0


def test_the_gate_is_the_exit_status(
    auricle: Callable[..., Answer], root: Path, names: list[str], tmp_path: Path
) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text(GATE)
    worse = auricle("compare", names[0], names[2], "--gate", gate, "--runs-folder", root)
    assert worse.status == 1
    assert "Gate: FAILS." in worse.out
    assert "false alarms, the baseline against itself: " in worse.out
    like = auricle("compare", names[0], names[1], "--gate", gate, "--runs-folder", root)
    assert like.status == 0
    gate.write_text("[margins]\nfinal_percent = 10\n")
    assert auricle("compare", names[0], names[1], "--gate", gate, "--runs-folder", root).status == 1


def test_a_run_is_compared_with_the_one_before_or_with_kept_ones(
    auricle: Callable[..., Answer], root: Path, names: list[str]
) -> None:
    before = auricle("compare", names[2], "--against", "previous", "--runs-folder", root)
    assert before.out.startswith(f"{names[2]} against previous: {names[1]}: worse")
    missing = auricle("compare", names[2], "--against", "baseline", "--runs-folder", root)
    assert missing.status == 2
    assert "no baseline is kept" in missing.err
    assert auricle("compare", "--keep", names[0], "--keep", names[1], "--runs-folder", root).status == 0
    kept = auricle("compare", names[2], "--against", "baseline", "--runs-folder", root)
    assert kept.out.startswith(f"{names[2]} against baseline: ")
    assert "8 passes" in kept.out


def test_json_holds_verdicts_and_the_gate(
    auricle: Callable[..., Answer], root: Path, names: list[str], tmp_path: Path
) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text(GATE)
    answer = auricle("compare", names[0], names[2], "--json", "--gate", gate, "--runs-folder", root)
    found = json.loads(answer.out)
    assert {one["key"]: one["verdict"] for one in found["timings"]}["total"] == "worse"
    assert found["gate"]["fails"] is True


def test_what_cannot_be_compared_is_one_line(auricle: Callable[..., Answer], root: Path, names: list[str]) -> None:
    for arguments, told in (
        ((names[0],), "two sides are compared"),
        ((names[0], names[0]), "same record"),
        ((names[0], "2025"), "no such run"),
        ((names[0], names[1], "--against", "previous"), "compare one side"),
        ((names[0], names[1], "--smallest-percent", "0"), "smallest difference"),
    ):
        answer = auricle("compare", *arguments, "--runs-folder", root)
        assert answer.status == 2
        assert told in answer.err


def test_a_report_and_a_log_are_written(
    auricle: Callable[..., Answer], root: Path, names: list[str], tmp_path: Path
) -> None:
    page, text, log = tmp_path / "r.html", tmp_path / "r.md", tmp_path / "log.md"
    assert auricle("report", names[0], names[2], "-o", page, "--runs-folder", root).status == 0
    assert page.read_text().startswith("<!doctype html>")
    assert auricle("report", names[0], "-o", text, "--runs-folder", root).status == 0
    assert text.read_text().startswith(f"# {names[0]}")
    assert auricle("log", "add", "--note", "First", "--log", log, "--runs-folder", root).status == 0
    assert f"<!-- auricle run: {names[2]} -->" in log.read_text()
    history = auricle("log", "history", "total", "--json", "--runs-folder", root)
    assert [row["run"] for row in history.rows] == names
