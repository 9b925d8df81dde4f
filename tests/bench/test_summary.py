"""Every figure of a summary is what was planted in the events."""

from __future__ import annotations

from typing import Any

import pytest

from auricle.bench.summary import aligned, headline, summarise

SETTINGS = {"normaliser": "basic", "seed": 0, "batch_size": 1}
UTTERANCES: list[dict[str, Any]] = [
    {"event": "utterance", "id": "a", "reference": "one two three four", "language": "en", "speaker": "s"},
    {"event": "utterance", "id": "b", "reference": "five six", "language": "en", "speaker": None},
]
GPU = {
    "peak_memory_used_bytes": 7,
    "mean_utilisation_percent": 50.0,
    "peak_power_w": None,
    "min_sm_clock_mhz": 900,
}


def batch(name: str, text: str | None, run: int, total_s: float, **more: Any) -> dict[str, Any]:
    fields = {
        "event": "batch",
        "arm": "x",
        "phase": "run",
        "run": run,
        "ids": [name],
        "audio_s": [10.0],
        "wall_s": total_s + 0.5,
        "total_s": total_s,
        "stages_s": {"decode-audio": 0.5, "encoder": total_s / 4, "decode": total_s / 2},
        "lanes": 1,
        "texts": [text],
        "error": None if text is not None else "it broke",
    }
    return fields | more


def usage(phase: str, peak: int) -> dict[str, Any]:
    return {
        "event": "usage",
        "arm": "x",
        "phase": phase,
        "peak_rss_children_bytes": peak,
        "peak_pss_children_bytes": None,
        "cpu_children_s": 3.0,
        "duration_s": 2.0,
        "gpus": [GPU],
    }


def events(texts: tuple[str | None, str | None] = ("one too three", "five six six")) -> list[dict[str, Any]]:
    found = [*UTTERANCES, {"event": "loaded", "arm": "x", "info": {"name": "m"}, "load_s": 1.5}]
    found += [{"event": "first", "arm": "x", "first_result_s": 2.5}, batch("a", "warm", 0, 99.0, phase="warmup")]
    for run, total_s in enumerate((1.0, 3.0, 2.0)):
        found += [batch("a", texts[0], run, total_s), batch("b", texts[1], run, total_s)]
    return [*found, usage("warmup", 900), usage("run", 500)]


def arm(found: list[dict[str, Any]], **settings: object) -> dict[str, Any]:
    (summary,) = summarise(found, SETTINGS | settings)["arms"]
    return dict(summary)


def test_error_rates_are_of_the_whole_corpus() -> None:
    wer = arm(events())["wer"]
    assert (wer["substitutions"], wer["deletions"], wer["insertions"], wer["reference_length"]) == (1, 1, 1, 6)
    assert wer["rate"] == pytest.approx(3 / 6)
    assert wer["low"] < wer["rate"] < wer["high"]


def test_a_failed_utterance_counts_as_deleted_and_is_told() -> None:
    summary = arm(events((None, "five six")))
    assert summary["failures"] == 1
    assert summary["errors"] == ["it broke"]
    assert summary["wer"]["deletions"] == 4
    assert summary["wer"]["rate"] == pytest.approx(4 / 6)


def test_times_are_medians_over_whole_passes_without_the_warm_up() -> None:
    summary = arm(events())
    assert summary["runs"] == 3
    assert summary["total_s"]["median"] == pytest.approx(4.0)
    assert (summary["total_s"]["min"], summary["total_s"]["max"]) == (2.0, 6.0)
    assert summary["total_s"]["range_confidence"] == pytest.approx(0.75)
    assert summary["wall_s"]["median"] == pytest.approx(5.0)
    assert summary["audio_s"] == pytest.approx(20.0)
    assert summary["rtf"] == pytest.approx(4.0 / 20.0)
    assert summary["rtfx"] == pytest.approx(20.0 / 5.0)
    assert (summary["load_s"], summary["first_result_s"]) == (1.5, 2.5)


def test_an_unfinished_pass_is_left_out() -> None:
    summary = arm([*events(), batch("a", "one", 3, 50.0)])
    assert summary["runs"] == 3
    assert summary["total_s"]["max"] == pytest.approx(6.0)


def test_an_arm_without_a_whole_pass_has_no_summary() -> None:
    assert summarise([*UTTERANCES, batch("a", "one", 0, 1.0)], SETTINGS) == {"arms": []}


def test_stages_and_what_is_in_no_stage_make_up_the_total() -> None:
    stages = arm(events())["stages"]
    rows = {row["stage"]: row for row in stages["rows"]}
    assert rows["encoder"]["median_ms"] == pytest.approx(1000.0)
    assert rows["decode"]["share"] == pytest.approx(0.5)
    assert rows["decode-audio"]["share"] is None
    assert stages["sum_ms"] == pytest.approx(3000.0)
    assert stages["residual_ms"] == pytest.approx(1000.0)
    assert stages["residual_share"] == pytest.approx(0.25)


def test_stages_of_several_workers_are_shares_of_all_their_time() -> None:
    found = [batch(name, "x", 0, 1.0, lanes=2, stages_s={"decode": 1.5}) for name in ("a", "b")]
    stages = arm([*UTTERANCES, *found, usage("run", 1)])["stages"]
    assert stages["rows"][0]["share"] == pytest.approx(0.75)
    assert stages["residual_ms"] == pytest.approx(1000.0)


def test_rows_for_files_have_the_columns_of_a_stage_breakdown() -> None:
    (row, _) = arm(events())["files"]
    assert row["id"] == "a"
    assert row["total_ms"] == pytest.approx(2000.0)
    assert row["encode_ms"] == pytest.approx(500.0)
    assert row["decode_ms"] == pytest.approx(1000.0)
    assert row["wall_ms"] == pytest.approx(2500.0)
    assert row["rtf"] == pytest.approx(0.2)
    assert row["words"] == 3


def test_texts_that_differ_between_passes_are_told() -> None:
    found = events()
    assert arm(found)["texts_repeat"]
    found[-3]["texts"] = ["other"]
    assert not arm(found)["texts_repeat"]


def test_memory_is_the_peak_of_the_arm_and_cpu_the_median_of_the_measured_passes() -> None:
    memory = arm(events())["memory"]
    assert memory["peak_rss_bytes"] == 900
    assert memory["peak_pss_bytes"] is None
    assert memory["cpu_cores"] == pytest.approx(1.5)
    assert memory["peak_device_bytes"] == 7
    assert memory["min_sm_clock_mhz"] == 900


def test_a_corpus_without_reference_words_has_no_error_rate() -> None:
    silent = [utterance | {"reference": ""} for utterance in UTTERANCES]
    summary = arm([*silent, *events()[2:]])
    assert summary["wer"] is None
    assert any("no word in 2 references" in caveat for caveat in summary["caveats"])
    assert headline({"arms": [summary]}) == {}


def test_alignments_are_shown_for_utterances_with_errors_alone() -> None:
    found = list(aligned(events(("one two three four", "five six six")), SETTINGS))
    assert [(name, utterance) for name, utterance, _ in found] == [("x", "b")]


def test_the_headline_names_error_rate_and_speed() -> None:
    assert headline(summarise(events(), SETTINGS)) == {"x": "WER 50.0 %, RTF 0.200"}
