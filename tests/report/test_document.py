from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

from auricle.bench.records import read_run
from auricle.errors import RecordError, UsageError
from auricle.report.document import document
from auricle.report.page import to_html, to_markdown
from tests.report.made_runs import rewritten
from tests.report.reading_pages import Page

if TYPE_CHECKING:
    from auricle.bench.records import Run

SCRIPT = Path(__file__).with_name("recompute_offline.py")


@pytest.fixture(scope="module")
def page(two_arms: Run) -> Page:
    return Page(to_html(document([two_arms])))


@pytest.fixture(scope="module")
def again(two_arms: Run) -> dict[str, Any]:
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(two_arms.path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def table(page: Page, start: str) -> dict[str, dict[str, str]]:
    """Return the rows of the table whose caption starts so, by their first cell."""
    rows = next(rows for caption, rows in page.tables.items() if caption.startswith(start))
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}


def test_every_number_in_the_tables_is_computed_again(page: Page, again: dict[str, Any]) -> None:
    for arm, figures in again.items():
        assert table(page, "Quality")[arm]["WER %"].split()[0] == f"{100 * figures['wer']:.1f}"
        speed = table(page, "Speed")[arm]
        assert speed["total s"] == "{:.2f} ({:.2f}-{:.2f})".format(*figures["total_s"])
        assert speed["wall s"] == "{:.2f} ({:.2f}-{:.2f})".format(*figures["wall_s"])
        assert speed["RTF"] == f"{figures['rtf']:.4f}"
        assert speed["RTFx"] == f"{figures['rtfx']:.1f}"
        assert table(page, "Memory")[arm]["peak RSS MB"] == f"{figures['rss_mb']:,.1f}"
        stages = table(page, f"Stages of {arm}")
        for stage, value in figures["stages_ms"].items():
            assert stages[stage]["median ms"] == f"{value:,.1f}"


def test_every_number_in_the_figures_is_computed_again(page: Page, again: dict[str, Any]) -> None:
    figures = page.data["figures"]
    for arm, told in again.items():
        bars = {stage: value for name, stage, value in figures["stages"]["rows"] if name == arm}
        for stage, value in bars.items():
            if stage != "in no stage":
                assert value == pytest.approx(told["stages_ms"][stage])
        lines: dict[str, list[list[float]]] = {}
        for stage, ms, share in figures[f"stage-cdf-{arm}"]["rows"]:
            lines.setdefault(stage, []).append([ms, share])
        assert lines.keys() == told["stage_values_ms"].keys()
        for stage, points in lines.items():
            values = told["stage_values_ms"][stage]
            for ms, share in points:
                assert sum(value <= ms * (1 + 1e-9) for value in values) / len(values) == pytest.approx(share)
        for name, low, high, calls in figures["rtf"]["rows"]:
            if name == arm:
                assert calls <= sum(low - 1e-9 <= value <= high + 1e-9 for value in told["rtfs"])
        assert sum(row[3] for row in figures["rtf"]["rows"] if row[0] == arm) == len(told["rtfs"])


def test_the_data_of_a_figure_can_be_downloaded_and_is_the_same(page: Page) -> None:
    assert len(page.downloads) == len(page.data["figures"]) == page.svgs
    columns, *rows = page.downloads["stages.csv"]
    assert columns == page.data["figures"]["stages"]["columns"]
    for row, drawn in zip(rows, page.data["figures"]["stages"]["rows"], strict=True):
        assert float(row[2]) == pytest.approx(drawn[2], rel=1e-5)


def test_every_drawing_has_a_title_for_those_who_hear_the_page(page: Page) -> None:
    for title in ("Where the time goes", "Latency by component, quick", "Real-time factor", "Memory"):
        assert title in page.titles


def test_arms_of_one_run_are_compared_and_the_verdict_comes_first(two_arms: Run, again: dict[str, Any]) -> None:
    told = document([two_arms])
    assert told.verdicts[0].startswith("slow against quick: worse: ")
    assert "total" in told.verdicts[0].partition(";")[0]
    rows = table(Page(to_html(told)), "Times")
    ratio = median([again["slow"]["total_s"][0]]) / again["quick"]["total_s"][0]
    assert rows["total"]["B / A (95 %)"].startswith(f"{ratio:.3f} ")


def test_errors_are_shown_word_by_word_the_worst_first(two_arms: Run) -> None:
    section = next(one for one in document([two_arms]).sections if one.title == "Errors, slow")
    assert [name for name, _ in section.alignments] == ["u0", "u1", "u11"]
    page = to_html(document([two_arms]))
    assert '<span class="S"><b>w0x0</b><i>notw0x0</i></span>' in page
    assert section.grids[0].rows[0][2] == "1"


def test_markdown_holds_the_same_tables(two_arms: Run, page: Page) -> None:
    text = to_markdown(document([two_arms]))
    for rows in page.tables.values():
        for row in rows[1:]:
            assert " | ".join(cell.replace("|", "\\|") for cell in row) in text


def test_markup_in_names_is_only_text(two_arms: Run, tmp_path: Path) -> None:
    run = rewritten(
        two_arms, tmp_path, lambda event: event | ({"arm": "<script>"} if event.get("arm") == "slow" else {})
    )
    text = to_html(document([run]))
    assert "<script>&" not in text
    assert text.count("<script") == 1
    assert Page(text).data["summaries"]


def test_a_record_without_what_figures_need_is_told_field_by_field(two_arms: Run, tmp_path: Path) -> None:
    def older(event: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in event.items() if name not in {"lanes", "first_result_s"}}

    with pytest.raises(
        RecordError, match=r"lacks what its figures need: .*first\.first_result_s, batch\.lanes"
    ) as told:
        document([rewritten(two_arms, tmp_path, older)])
    assert "run the benchmark again" in str(told.value)


def test_a_record_with_more_than_is_known_is_read(two_arms: Run, tmp_path: Path) -> None:
    run = rewritten(two_arms, tmp_path, lambda event: event | {"later": 1})
    assert document([run]).sections


def test_a_run_of_another_kind_is_refused_by_name(two_arms: Run, tmp_path: Path) -> None:
    run = rewritten(two_arms, tmp_path, lambda event: event, kind="crossover")
    with pytest.raises(UsageError, match="crossover"):
        document([run])


def test_two_runs_are_compared_where_they_can_be(two_arms: Run, tmp_path: Path) -> None:
    other = rewritten(two_arms, tmp_path, lambda event: event)
    told = document([two_arms, read_run(other.path)])
    assert any("@slow against" in one for one in told.verdicts)
