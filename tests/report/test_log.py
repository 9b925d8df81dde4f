from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auricle.errors import UsageError
from auricle.report.log import TO_WRITE, add, history, history_grid
from tests.report.conftest import SPOKEN, passes
from tests.report.made_runs import make_run

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.bench.records import Run


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return [
        make_run(tmp_path / "runs", {"x": passes(8, seconds, 0.01, number)}, SPOKEN, {"x": [number, *[0] * 11]})
        for number, seconds in enumerate((1.0, 1.2))
    ]


def test_an_entry_has_change_configuration_tables_stages_and_room_for_analysis(runs: list[Run], tmp_path: Path) -> None:
    path = tmp_path / "log.md"
    entry = add(path, runs[0], "Batch the encoder\nEight at a time.", lambda _: runs[0])
    assert entry.splitlines()[0] == f"## {runs[0].info['started'][:10]}: Batch the encoder"
    for part in ("**Change.** Eight at a time.", "**Configuration.** Auricle", "Stages of x", "| encoder |", TO_WRITE):
        assert part in entry
    assert "Against the entry before" not in entry
    assert path.read_text().startswith("# Benchmark log")


def test_the_next_entry_is_compared_with_the_one_before(runs: list[Run], tmp_path: Path) -> None:
    path = tmp_path / "log.md"
    add(path, runs[0], "Before", lambda _: runs[0])
    entry = add(path, runs[1], "After", lambda name: {runs[0].id: runs[0]}[name])
    assert f"### Against the entry before, `{runs[0].id}`" in entry
    assert "x: worse: " in entry
    text = path.read_text()
    assert text.index("Before") < text.index("After")
    assert text.count("<!-- auricle run: ") == 2


def test_what_the_author_wrote_stays(runs: list[Run], tmp_path: Path) -> None:
    path = tmp_path / "log.md"
    add(path, runs[0], "Before", lambda _: runs[0])
    path.write_text(path.read_text().replace(TO_WRITE, "It was the cache."))
    add(path, runs[1], "After", lambda _: runs[0])
    assert "It was the cache." in path.read_text()


def test_a_run_before_that_is_gone_is_told(runs: list[Run], tmp_path: Path) -> None:
    path = tmp_path / "log.md"
    add(path, runs[0], "Before", lambda _: runs[0])

    def gone(name: str) -> Run:
        raise UsageError("no such run", name)

    assert f"Not compared: no such run: {runs[0].id}." in add(path, runs[1], "After", gone)


def test_a_run_is_entered_once_and_with_a_note(runs: list[Run], tmp_path: Path) -> None:
    path = tmp_path / "log.md"
    add(path, runs[0], "Before", lambda _: runs[0])
    with pytest.raises(UsageError, match="has an entry already"):
        add(path, runs[0], "Again", lambda _: runs[0])
    with pytest.raises(UsageError, match="needs a note"):
        add(path, runs[1], " ", lambda _: runs[0])


def test_the_history_of_a_metric_goes_from_the_oldest_to_the_newest(runs: list[Run]) -> None:
    found = history(runs[::-1], "total")
    assert [one.run for one in found] == [run.id for run in runs]
    assert found[0].value == pytest.approx(12.0, rel=0.02)
    assert found[1].value == pytest.approx(14.4, rel=0.02)
    rows = history_grid(found, "total").rows
    assert (rows[0][-1], rows[1][-1]) == ("▁", "█")
    assert [one.value for one in history(runs, "wer")] == pytest.approx([0.0, 100 / 120])


def test_an_unknown_metric_names_the_known_ones(runs: list[Run]) -> None:
    with pytest.raises(UsageError, match=r"no run has this metric: wor \(hint: known are wer, cer, total"):
        history(runs, "wor")
