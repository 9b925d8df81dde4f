"""Live streams and recordings on a CUDA card, through its graphs and kernels (`make test-gpu`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from auricle.fastconformer.device.streams import DeviceStreams
from tests.fastconformer.checkpoints import recording
from tests.fastconformer.device.devices import CPU, on_device, told, whole
from tests.fastconformer.live import play

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

LENGTHS = (1, 1480, 17_841, 40_000, 97_123, 61_000, 5000, 33_333)


@pytest.mark.parametrize("name", ["rnnt_stream", "live_tdt"])
def test_streams_give_the_tokens_of_the_cpu_and_no_step_runs_without_its_graph(name: str, tmp_path: Path) -> None:
    audio = [recording(samples, seed=samples) for samples in LENGTHS]
    here, there = on_device(name, tmp_path, torch.device("cuda")), on_device(name, tmp_path, CPU)
    for latency, same in zip(here.classes, there.classes, strict=True):
        streams = DeviceStreams(here, len(audio), (1, 8))
        for one, other in zip(
            play(streams, latency, audio), play(DeviceStreams(there, len(audio), (8,)), same, audio), strict=True
        ):
            assert told(one.tokens) == told(other.tokens)
        assert streams.runs.eager == 0
        assert streams.runs.graphed > 0


@pytest.mark.parametrize("name", ["rnnt", "tdt", "hybrid_tdt", "ctc"])
def test_recordings_give_the_tokens_of_the_cpu(name: str, tmp_path: Path) -> None:
    audio = [recording(samples, seed=samples) for samples in LENGTHS]
    here, there = whole(name, tmp_path, torch.device("cuda")), whole(name, tmp_path, CPU)
    for one, other in zip(here.transcribe(audio), there.transcribe(audio), strict=True):
        assert one.text == other.text
    assert here.runs.eager == 0
