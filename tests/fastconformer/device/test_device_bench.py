"""The benchmark of cards, as far as it goes without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.fastconformer.device.streams import DeviceStreams
from bench.gpu_checks import error_rate
from bench.gpu_features import FILES, LIVE, features
from bench.gpu_live import play_all, run
from tests.fastconformer.checkpoints import recording
from tests.fastconformer.device.devices import on_device

if TYPE_CHECKING:
    from pathlib import Path


def test_streams_in_real_time_are_counted_and_all_closed(tmp_path: Path) -> None:
    model = on_device("rnnt_stream", tmp_path)
    streams, latency = DeviceStreams(model, 6, (1, 8)), model.classes[0]
    told = run(streams, latency, 6, 4, 2.3, np.stack([recording(60_000, seed=clip) for clip in range(3)]))
    assert told.streams == 6
    assert told.graphed == 0
    assert told.eager >= 8
    assert told.tokens_per_s > 0
    assert told.duty > 0
    assert told.after_last_sample_ms == sorted(told.after_last_sample_ms)
    for _ in range(6):
        streams.open(latency)


def test_recordings_are_played_to_their_ends_however_many_at_once(tmp_path: Path) -> None:
    model = on_device("rnnt_stream", tmp_path)
    audio = [recording(samples, seed=samples) for samples in (30_000, 1, 17_841)]
    latency = model.classes[1]
    together = play_all(DeviceStreams(model, 3, (4,)), latency, audio)
    one_by_one = play_all(DeviceStreams(model, 1, (4,)), latency, audio, 1)
    assert together == one_by_one
    assert len(together[0]) > len(together[1])


@pytest.mark.slow
def test_what_a_card_is_asked_of_phrases_languages_beams_and_int8_holds_without_one() -> None:
    told = features("cpu")
    assert len(told) == len(LIVE) + len(FILES)
    assert all(one["token_errors"] == 0 and one["graphed"] == 0 for one in told)
    for case, one in zip(LIVE, told, strict=False):
        assert bool(one["changed_where_asked"]) == bool(case.phrases)
        assert one["changed_elsewhere"] == 0


@pytest.mark.parametrize(
    ("wanted", "said", "rate"),
    [
        ([[1, 2, 3]], [[1, 2, 3]], 0.0),
        ([[1, 2, 3, 4]], [[1, 3, 5, 4]], 0.5),
        ([[1], [2]], [[], [2, 2]], 1.0),
        ([[]], [[7]], 1.0),
    ],
)
def test_the_error_rate_is_the_edit_distance_over_the_tokens_wanted(
    wanted: list[list[int]], said: list[list[int]], rate: float
) -> None:
    assert error_rate(wanted, said) == pytest.approx(rate)
