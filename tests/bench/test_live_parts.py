"""Programmes, bounds, settings, metrics pages and control groups: the parts of a live benchmark."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from auricle.bench.live.cpus import GROUPS, limited
from auricle.bench.live.programmes import compose, render
from auricle.bench.live.scrape import read, scrape
from auricle.bench.live.server import spawned
from auricle.bench.live.slo import Slo, read_slo, share, together
from auricle.bench.live.speech import WINDOW_S, voiced
from auricle.client.clips import Clip
from auricle.client.errors import ServerError
from auricle.errors import EngineError, UnsupportedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

LENGTHS_S = {f"u{number}": 2.0 + number / 10 for number in range(10)}

LITTLE, BURNT_S = 0.05, 0.15
"""Cores, and seconds of CPU time."""


def test_without_a_length_each_utterance_is_a_stream() -> None:
    programmes = compose(LENGTHS_S, None, 0.5, 1.0, 0)
    assert [programme.name for programme in programmes] == list(LENGTHS_S)
    assert programmes[3].duration_s == pytest.approx(2.3 + 1.0)


@pytest.mark.parametrize("stream_s", [1.0, 7.0, 30.0, 31.0, 200.0])
@pytest.mark.parametrize("seed", range(5))
def test_every_utterance_is_played_equally_often_and_none_after_itself(stream_s: float, seed: int) -> None:
    programmes = compose(LENGTHS_S, stream_s, 0.5, 0.0, seed)
    counts = Counter(piece.utterance for programme in programmes for piece in programme.pieces)
    assert len(counts) == 10
    assert len(set(counts.values())) == 1
    for programme in programmes:
        assert all(one.utterance != other.utterance for one, other in pairwise(programme.pieces))
    assert all(programme.duration_s + 0.5 >= stream_s for programme in programmes[:-1])


def test_a_single_utterance_may_follow_itself() -> None:
    (programme,) = compose({"only": 2.0}, 7.0, 0.5, 0.0, 0)
    assert [piece.offset_s for piece in programme.pieces] == [0.0, 2.5, 5.0]


def test_a_stream_is_its_utterances_with_silence_between_them() -> None:
    clips = {name: Clip(name, 1000, 100, bytes([value, 0]) * 100) for name, value in (("a", 1), ("b", 2))}
    (programme,) = compose({"a": 0.1, "b": 0.1}, 0.2, 0.05, 0.02, 0)
    clip = render(programme, clips)
    values = clip.pcm[::2]
    first, second = (clips[piece.utterance].pcm[0] for piece in programme.pieces)
    assert clip.samples == 270
    assert values == bytes([first] * 100 + [0] * 50 + [second] * 100 + [0] * 20)


def test_speech_is_from_the_first_voiced_window_to_the_last() -> None:
    assert voiced([0.1, 0.9, 0.2, 0.7, 0.1]) == (WINDOW_S, 4 * WINDOW_S)
    assert voiced([0.1, 0.5]) is None


def test_bounds_are_read_from_toml_and_json(tmp_path: Path) -> None:
    toml, json = tmp_path / "slo.toml", tmp_path / "slo.json"
    toml.write_text("final_p95_ms = 800\nlate_share = false\n")
    json.write_text('{"final_p95_ms": 800, "late_share": null}')
    assert read_slo(toml) == read_slo(json) == Slo(final_p95_ms=800, late_share=None)


@pytest.mark.parametrize(
    "text", ["final_ms = 3", "final_p95_ms = true", "late_share = -1", "late_ms = false", "x", "["]
)
def test_bounds_that_mean_nothing_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "slo.toml"
    path.write_text(text)
    with pytest.raises(UsageError):
        read_slo(path)


def test_a_share_is_judged_by_its_interval() -> None:
    assert share([0] * 200, [1] * 200, 0.05) == "pass"
    assert share([0] * 20, [1] * 20, 0.05) == "undecided"
    assert share([0] * 19, [100] * 19, 0.05) == "undecided"  # so few streams may be the lucky ones
    assert share([0] * 20, [100] * 20, 0.05) == "pass"
    assert share([100] * 2, [100] * 2, 0.05) == "fail"
    assert share([1] * 60 + [0] * 140, [1] * 200, 0.05) == "fail"
    assert share([], [], 0.05) == "undecided"


def test_what_cannot_be_observed_is_not_judged() -> None:
    assert together({"late": None, "final": "pass"}) == "pass"
    assert together({"late": None}) == "undecided"
    assert together({"late": "undecided", "final": "fail"}) == "fail"


def test_sums_and_counts_are_kept_of_a_metrics_page() -> None:
    page = """# TYPE auricle_step_seconds histogram
auricle_step_seconds_bucket{le="0.1"} 3
auricle_step_seconds_sum 1.5
auricle_step_seconds_count 3
# TYPE auricle_audio_out_seconds counter
auricle_audio_out_seconds_total{kind="live"} 7
go_threads 5
"""
    assert read(page) == {
        "auricle_step_seconds_sum": 1.5,
        "auricle_step_seconds_count": 3.0,
        "auricle_audio_out_seconds_total{kind=live}": 7.0,
    }


def test_a_metrics_page_that_is_not_there_is_told() -> None:
    with pytest.raises(ServerError, match="metrics"):
        scrape("http://127.0.0.1:9/metrics", None)


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(EngineError, match="no-such-engine"), spawned("--engine no-such-engine"):
        pytest.fail("it cannot have started")


def test_a_spawned_server_cannot_be_given_an_address() -> None:
    with pytest.raises(UsageError, match="--port"), spawned("--port 80"):
        pytest.fail("it cannot have started")


def test_the_cpu_is_limited_by_version_2_of_control_groups(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("control groups are Linux's")
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    (tmp_path / "cgroup.subtree_control").write_text("memory")
    with limited(0.25, tmp_path) as group:
        assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
        assert (group.path / "cpu.max").read_text() == "25000 100000"
        (group.path / "cpu.stat").write_text("usage_usec 9\nnr_periods 40\nnr_throttled 10\nthrottled_usec 2500000\n")
        assert (group.throttling().periods, group.throttling().throttled_s) == (40, 2.5)
        for name in ("cpu.max", "cpu.stat"):  # which the kernel would take away with the folder
            (group.path / name).unlink()
    assert not group.path.exists()


def test_where_nobody_may_limit_the_cpu_it_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="cannot be limited"), limited(1.0, tmp_path):
        pytest.fail("there are no control groups here")


def test_a_limited_process_really_gets_no_more(tmp_path: Path) -> None:
    """Less than it would have even of a busy machine, so that it is the limit that holds it back."""
    script = f"""from time import perf_counter as wall, process_time as cpu
begin, until = wall(), cpu() + {BURNT_S}
while cpu() < until:
    pass
print(wall() - begin)"""
    try:
        with limited(LITTLE, GROUPS) as group:
            command = [*group.join_command(), sys.executable, "-c", script]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
            throttling = group.throttling()
    except UnsupportedError as error:
        pytest.skip(str(error))
    assert float(done.stdout) > 0.7 * BURNT_S / LITTLE
    assert throttling.throttled > 0
