"""Every figure of the components' summary is what was planted in the events."""

from __future__ import annotations

from typing import Any

import pytest

from auricle.bench.profile.components import REST, WHOLE, components, cumulative, durations
from tests.bench.profile.planted import SETTINGS, Event, loaded, play


def summary(events: list[Event], **settings: Any) -> dict[str, Any]:
    found = components(events, SETTINGS | settings)
    assert found is not None
    return found


def streams(count: int, *, slope_ms_per_s: float = 0.0, first_ms: float = 30.0) -> list[Event]:
    """Streams of 20 chunks whose latency grows by so much for each second of the stream."""
    events = [loaded(first_short_s=0.0)]
    for run in range(2):
        for index in range(count):
            steps_ms = [10.0 + slope_ms_per_s * 0.1 * (chunk + 1) + index for chunk in range(20)]
            steps_s = [value / 1000 for value in [first_ms, *steps_ms[1:]]]
            events += play(f"u{index}", steps_s, 2.0, run=run, first_short_s=0.0)
    return events


def test_planted_stages_come_out_in_the_distribution() -> None:
    found = durations([loaded(), *play("a", [0.010, 0.020, 0.040], 0.28)])
    assert found["encoder"] == pytest.approx([5.0, 10.0, 20.0])
    assert found["decode"] == pytest.approx([2.5, 5.0, 10.0])
    assert found[REST] == pytest.approx([2.5, 5.0, 10.0])
    assert found[WHOLE] == pytest.approx([10.0, 20.0, 40.0])
    values, shares = zip(*cumulative(found["encoder"], 10), strict=True)
    assert values == pytest.approx((5.0, 10.0, 20.0))
    assert shares == pytest.approx((1 / 3, 2 / 3, 1.0))


def test_shares_of_components_make_up_the_whole_step() -> None:
    rows = {one["stage"]: one for one in summary([loaded(), *play("a", [0.01, 0.03], 0.18)])["components"]}
    assert rows["encoder"]["share"] == pytest.approx(0.5)
    assert sum(one["share"] for one in rows.values() if one["share"] is not None) == pytest.approx(1.0)
    assert rows[WHOLE]["mean_ms"] == pytest.approx(20.0)


def test_a_distribution_is_thinned_to_its_ends() -> None:
    points = cumulative([float(value) for value in range(1000)], 11)
    assert points[0] == (0.0, 0.001)
    assert points[-1] == (999.0, 1.0)
    assert len(points) == 11


def test_rtf_is_told_with_and_without_the_padding_of_the_last_chunk() -> None:
    # 0.08 s, 0.1 s and a last chunk of 0.02 s: 0.2 s of audio, 0.28 s in whole chunks.
    rtf = summary([loaded(), *play("a", [0.014] * 3, 0.2)])["rtf"]
    assert rtf["median"] == pytest.approx(0.042 / 0.2)
    assert rtf["padded"]["median"] == pytest.approx(0.042 / 0.28)


def test_files_above_real_time_are_counted_by_their_median_and_in_any_run() -> None:
    events = [loaded(first_short_s=0.0)]
    for run, steps_s in enumerate([[0.05, 0.05], [0.05, 0.05], [0.2, 0.2]]):
        events += play("lucky", steps_s, 0.2, run=run, first_short_s=0.0)
        events += play("slow", [0.15, 0.15], 0.2, run=run, first_short_s=0.0)
    rtf = summary(events, runs=3)["rtf"]
    assert (rtf["files"], rtf["over_1"], rtf["over_1_in_any_run"]) == (2, 1, 2)


def test_compute_ttft_is_the_time_up_to_the_first_words_with_opening() -> None:
    (row,) = summary([loaded(), *play("a", [0.01, 0.02, 0.03], 0.28, words_at=1, open_s=0.005)])["rows"]
    assert row["ttft_ms"] == pytest.approx(35.0)


def test_a_stream_that_never_has_words_is_longer_than_any_and_not_left_out() -> None:
    ttft = summary([loaded(), *play("a", [0.01], 0.08), *play("b", [0.01], 0.08, words_at=None)])["ttft"]
    assert (ttft["n"], ttft["never"]) == (2, 2)
    events = [loaded(), *play("a", [0.01], 0.08, words_at=0), *play("b", [0.01], 0.08, words_at=None)]
    ttft = summary(events)["ttft"]
    assert (ttft["never"], ttft["min_ms"], ttft["median_audio_s"]) == (1, pytest.approx(10.0), pytest.approx(0.08))


def test_a_planted_slope_of_latency_is_found_and_lies_in_its_interval() -> None:
    drift = summary(streams(12, slope_ms_per_s=5.0))["chunks"]["drift"]
    assert drift["ms_per_s"] == pytest.approx(5.0)
    assert drift["streams"] == 12
    assert drift["low"] <= 5.0 + 1e-9
    assert drift["high"] >= 5.0 - 1e-9


def test_a_slow_first_chunk_is_no_drift() -> None:
    chunks = summary(streams(12, first_ms=300.0))["chunks"]
    assert chunks["drift"]["ms_per_s"] == pytest.approx(0.0, abs=1e-9)
    assert chunks["first"]["max_ms"] == pytest.approx(300.0)
    assert chunks["first_over_steady"] == pytest.approx(300.0 / 15.5)


def test_few_utterances_bear_no_interval_of_the_drift_however_often_they_were_played() -> None:
    drift = summary(streams(9, slope_ms_per_s=5.0), runs=2)["chunks"]["drift"]
    assert (drift["low"], drift["high"], drift["streams"]) == (None, None, 9)


def test_the_curve_tells_how_many_streams_got_so_far() -> None:
    events = [loaded(first_short_s=0.0), *play("a", [0.01] * 3, 0.3, first_short_s=0.0)]
    curve = summary([*events, *play("b", [0.03] * 2, 0.2, first_short_s=0.0)])["chunks"]["curve"]
    assert [one["n"] for one in curve] == [2, 2, 1]
    assert curve[0]["p50_ms"] == pytest.approx(20.0)
    assert curve[2]["at_s"] == pytest.approx(0.3)


def test_warm_up_and_the_look_at_operators_change_no_figure() -> None:
    timed = [loaded(), *play("a", [0.01, 0.02], 0.18)]
    slow = [*play("a", [9.0, 9.0], 0.18, phase="warmup"), *play("a", [7.0, 7.0], 0.18, phase="operators")]
    assert summary([*timed, *slow]) == summary(timed)


def test_what_failed_is_told_and_in_no_figure() -> None:
    failed = play("b", [5.0], 0.08, text=None, error="it broke")
    found = summary([loaded(), *play("a", [0.01, 0.02], 0.18), *failed])
    assert (found["files"], found["failures"], found["errors"]) == (1, 1, ["it broke"])
    assert components([loaded(), *failed], SETTINGS) is None


def test_streams_in_lockstep_share_their_steps() -> None:
    a, b = play("a", [0.02, 0.02], 0.18), play("b", [0.02, 0.02], 0.18)
    both = [one | {"ids": ["a", "b"], "fed_s": one["fed_s"] * 2, "words": [0, 1]} for one in a[:2]]
    found = summary([loaded(), *both, a[-1], b[-1]], streams=2)
    assert [one["n"] for one in found["components"]] == [2] * 4
    assert found["rtfx"] == pytest.approx(0.36 / 0.04)
    assert {row["id"]: row["ttft_ms"] for row in found["rows"]} == {"a": None, "b": pytest.approx(20.0)}


def test_a_file_is_one_step_without_chunks_or_padding() -> None:
    found = summary([loaded(live=False), *play("a", [0.5], 5.0, words_at=0)])
    assert found["chunks"] is None
    assert found["rtf"]["padded"] is None
    assert found["rtf"]["median"] == pytest.approx(0.1)
    assert found["rows"][0]["ttft_ms"] == pytest.approx(500.0)


def test_another_text_in_another_pass_is_told() -> None:
    events = [loaded(), *play("a", [0.01], 0.08), *play("a", [0.01], 0.08, run=1, text="two")]
    assert not summary(events)["texts_repeat"]
