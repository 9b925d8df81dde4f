"""Every number in the report of a live run is computed again by the script that shares no code with Auricle."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from auricle import cli
from auricle.bench import records
from auricle.bench.live.slo import Slo
from auricle.errors import UsageError
from auricle.report import log
from auricle.report.capacities import by_bounds, held
from auricle.report.compare import Smallest, compare_sides
from auricle.report.document import document
from auricle.report.page import to_html, to_markdown
from auricle.report.sides import open_side
from tests.bench.test_live_recomputed import COLUMNS, LEFT_OUT, differences, recomputed
from tests.report.made_runs import rewritten
from tests.report.reading_pages import Page

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.planted_runs import Planted, Run

MOST_BYTES = 3_000_000
FEWEST_FOR_A_MEDIAN = 7
QUANTILES = (("p50_ms", 0.5), ("p95_ms", 0.95))


PAGES: dict[Path, tuple[Page, str]] = {}
LEVELS: dict[Path, list[dict[str, Any]]] = {}


def page_of(run: Run) -> tuple[Page, str]:
    """Return the page of a run, made once."""
    if run.folder not in PAGES:
        text = to_html(document([records.read_run(run.folder)]))
        PAGES[run.folder] = Page(text), text
    return PAGES[run.folder]


def all_levels(run: Run) -> list[dict[str, Any]]:
    """Return what the script computes of a run, once."""
    if run.folder not in LEVELS:
        LEVELS[run.folder] = recomputed(run)["levels"]
    return LEVELS[run.folder]


def levels_of(run: Run) -> dict[int, dict[str, Any]]:
    return {level["live"]: level for level in all_levels(run) if level["speed"] is not None}


def test_every_cell_of_the_tables_is_computed_again(curve: Planted) -> None:
    again, (page, _) = levels_of(curve.run), page_of(curve.run)
    seen = set()
    for caption in ("Quality and latency", "Texts and other times", "Load", "Server"):
        columns, *rows = page.tables[caption]
        for row in rows:
            if row[0].endswith("u"):
                continue
            for name, cell in zip(columns, row, strict=True):
                if name in {"bounds", "live"}:
                    continue
                wanted = COLUMNS[name](again[int(row[0])])
                assert re.sub(LEFT_OUT, "", cell) in {wanted, wanted.replace("-", "")}, f"{name} at {row[0]} live"
                seen.add(name)
    assert seen >= {"held", "WER % (95 %)", "final p50/p95", "TTFT", "CER %", "connect", "drift ms/s"}


def test_every_number_of_the_summary_in_the_page_is_computed_again(curve: Planted) -> None:
    page, _ = page_of(curve.run)
    (summary,) = page.data["summaries"].values()
    found: list[str] = []
    for printed, level in zip(summary["levels"], all_levels(curve.run), strict=True):
        found += differences(printed, level, f"{printed['phase']} {printed['live']}")
    assert not found, "\n".join(found)


def test_the_curves_are_the_figures_that_are_computed_again(curve: Planted) -> None:
    again, (page, _) = levels_of(curve.run), page_of(curve.run)
    figures = {name.split("-ws")[0]: told for name, told in page.data["figures"].items()}
    quality = figures["quality"]["rows"]
    assert {row[0] for row in quality} == again.keys()
    for live, wer, _, _, cer, _, _ in quality:
        assert wer == pytest.approx(100 * again[live]["wer"]["rate"])
        assert cer == pytest.approx(100 * again[live]["cer"]["rate"])
    for line, live, ms in figures["latency"]["rows"]:
        kind, quantile = line.split()
        assert ms == pytest.approx(again[int(live)][kind][f"{quantile}_ms"], abs=2e-3)


@pytest.mark.parametrize("kind", ["final", "ttft", "chunk"])
def test_the_distributions_have_the_percentiles_that_are_computed_again(curve: Planted, kind: str) -> None:
    again, (page, _) = levels_of(curve.run), page_of(curve.run)
    figures = {name.split("-ws")[0]: told for name, told in page.data["figures"].items()}
    lines: dict[int, list[list[float]]] = {}
    for line, ms, share in figures[f"{kind}-cdf"]["rows"]:
        lines.setdefault(int(line.split()[0]), []).append([ms, share])
    checked = 0
    for live, points in lines.items():
        for name, quantile in QUANTILES:
            wanted = again[live][kind][name]
            if wanted is not None:
                at = next(ms for ms, share in points if share >= quantile - 1e-9)
                near = [ms for ms, share in points if abs(share - quantile) <= 0.02]
                assert min(near, default=at) - 1e-3 <= wanted <= max(near, default=at) + 1e-3
                checked += 1
    assert checked


def test_the_page_is_small_and_its_plots_are_there(curve: Planted) -> None:
    page, text = page_of(curve.run)
    assert len(text.encode()) < MOST_BYTES
    for title in (
        "Quality under load",
        "Latency under load",
        "Final latency",
        "Time to first token",
        "Chunk latency",
        "Chunk latency over stream time",
        "Memory",
    ):
        assert title in page.titles
    assert page.svgs == len(page.data["figures"])


def test_the_drift_in_the_caption_is_the_one_that_is_computed_again(curve: Planted) -> None:
    _, text = page_of(curve.run)
    for live, level in levels_of(curve.run).items():
        assert f"{live} live {level['drift']['ms_per_s']:+.1f}" in text


def test_our_own_server_shows_latency_by_component(null: Run) -> None:
    page, _ = page_of(null)
    stamped = {live: level["ttft_parts"]["n"] for live, level in levels_of(null).items() if level["ttft_parts"]}
    shown = {live for live, streams in stamped.items() if streams >= FEWEST_FOR_A_MEDIAN}
    assert {f"Latency by component at {live} live" for live in shown} <= set(page.titles)
    assert sum(title.startswith("Latency by component at ") for title in page.titles) == len(shown)


def test_markdown_of_a_live_run_holds_the_tables(curve: Planted) -> None:
    text = to_markdown(document([records.read_run(curve.run.folder)]))
    assert "| live | held | refused | failed | WER % (95 %) |" in text


def punctual(run: Run, root: Path) -> records.Run:
    """Return a copy of a run whose client was on time, however busy this machine was."""

    def changed(event: dict[str, Any]) -> dict[str, Any]:
        if event["event"] == "stream":
            return event | {"sent_s": event["due_s"]}
        return event | {"cpu_s": 0.0} if event["event"] == "client" else event

    return rewritten(records.read_run(run.folder), root, changed)


def test_live_runs_are_compared_level_by_level(curve: Planted, tmp_path: Path) -> None:
    runs = [punctual(curve.run, tmp_path / name) for name in ("a", "b")]
    sides = [open_side([(run, None)], "side") for run in runs]
    found = compare_sides(sides, Smallest(), "basic")[0]
    keys = {one.key for one in found.metrics}
    assert {f"{kind}@{live}" for kind in ("wer", "final", "ttft", "chunk") for live in (1, 4, 8)} <= keys
    assert all(one.ratio.ratio == 1 and one.verdict not in {"better", "worse"} for one in found.timings)
    assert all(one.rate_a == one.rate_b for one in found.errors)


def test_levels_whose_client_was_late_are_left_out_and_named(curve: Planted, tmp_path: Path) -> None:
    sound = punctual(curve.run, tmp_path / "sound")
    late = rewritten(
        sound,
        tmp_path / "late",
        lambda event: event | {"cpu_s": 9.0 * event["wall_s"]} if event["event"] == "client" else event,
    )
    sides = [open_side([(run, None)], run.path.parent.name) for run in (sound, late)]
    found = compare_sides(sides, Smallest(), "basic")[0]
    assert not found.metrics
    assert sum("late is void at " in note for note in found.notes) == 3
    with pytest.raises(UsageError, match="no level is sound"):
        held(late)


def test_what_a_run_held_is_its_capacity(curve: Planted, tmp_path: Path) -> None:
    run = punctual(curve.run, tmp_path)
    found = held(run, bounds=Slo(final_p95_ms=None, late_share=None, wer_margin_points=None))
    assert (found.streams, found.broken_at) == (4, 8)
    capacity = found.capacity("modal-l4")
    assert (capacity.streams, capacity.how) == (4, "measured")
    assert capacity.wer_percent == pytest.approx(100 * levels_of(curve.run)[4]["wer"]["rate"])
    with pytest.raises(UsageError, match="no load held the bounds"):
        held(run, bounds=Slo(final_p95_ms=1))
    with pytest.raises(UsageError, match="no such arm"):
        held(run, "another")
    assert len(by_bounds(run)) == 3


def test_a_run_and_a_price_make_a_plan(curve: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = punctual(curve.run, tmp_path / "sound")
    settings = run.info["settings"] | {"slo": asdict(Slo(final_p95_ms=None, late_share=None, wer_margin_points=None))}
    judged = rewritten(run, tmp_path / "judged", lambda event: event, settings=settings)
    assert cli.run(["plan", "--run", f"{judged.path}=modal-l4", "--streams", "40", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (row,) = told["rows"]
    assert (row["streams"], row["how"]) == (4, "measured")
    assert row["machines"] == 14
    assert row["at_full"] == pytest.approx(0.7992 / 4)
    assert judged.id in row["source"]
    assert cli.run(["plan", "--run", f"{run.path}=modal-l40"]) == 2


def test_an_entry_of_the_log_says_what_a_live_run_comes_to(curve: Planted, tmp_path: Path) -> None:
    run = records.read_run(curve.run.folder)
    entry = log.add(tmp_path / "log.md", run, "Live", lambda _: run)
    assert "- Bounds: final p95 <= 500 ms" in entry
    assert "| live | held | refused |" in entry
    again = all_levels(curve.run)
    assert ("- VOID: " in entry) == any(level["client"]["void"] for level in again if level["speed"] is not None)
