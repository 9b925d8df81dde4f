"""The same on a CUDA card, where decoding steps run as graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from auricle.qwen3.live import Fed, LiveStreams
from auricle.qwen3.model import Qwen3Asr
from auricle.qwen3.stages import Meter
from auricle.trace import Tracer
from tests.qwen3.checkpoints import RATE_HZ, recording

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.fixture(scope="module")
def card(folder: Path) -> Qwen3Asr:
    return Qwen3Asr(folder, device=torch.device("cuda"))


def test_graphs_give_the_answers_of_the_cpu_and_nothing_runs_without_one(model: Qwen3Asr, card: Qwen3Asr) -> None:
    heard = [recording(samples) for samples in (9_000, 40_000, 16_001, 128_161, 20_000)]
    meter = Meter(Tracer(), card.device)
    for some in (heard, heard[:1], heard[1:4]):
        expected = model.transcribe(some, Meter(Tracer(), model.device))
        assert card.transcribe(some, meter) == expected
    assert set(meter.steps) == {"graph"}


def test_live_streams_hear_on_a_card_what_they_do_on_the_cpu(model: Qwen3Asr, card: Qwen3Asr) -> None:
    audio = [recording(2 * RATE_HZ, seed) for seed in range(3)]
    heard = []
    for one in (model, card):
        streams = LiveStreams(one)
        live = [streams.open("", None) for _ in audio]
        meter = Meter(Tracer(), one.device)
        heard.append(
            [
                streams.step([Fed(*each, is_last=last) for each in zip(live, audio, strict=True)], meter)
                for last in (False, True)
            ]
        )
    assert heard[0] == heard[1]
