"""What is said of memory is what is there: slots to the byte, batches within a bound that is not far."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auricle.fastconformer.measure import LiveBytes, peak_bytes
from auricle.fastconformer.memory import BATCH_BYTES, RECORDING_BYTES, batch_bytes, groups, longest_s, slot_values
from auricle.fastconformer.reading import parse_config
from auricle.fastconformer.streaming.latency import latency_classes
from auricle.fastconformer.streaming.streams import LiveStreams
from tests.fastconformer.checkpoints import MODELS, RATE_HZ, config

if TYPE_CHECKING:
    from collections.abc import Callable

    from auricle.fastconformer.config import ModelConfig
    from auricle.fastconformer.model import FastConformer
    from auricle.fastconformer.precision import Precision

FRAME_SAMPLES = 1280


def wide(name: str, **encoder: Any) -> ModelConfig:
    """A model of `checkpoints` with other sizes in its encoder."""
    parsed = parse_config(config(name))
    return replace(parsed, encoder=replace(parsed.encoder, **encoder))


SIZES = {
    **{name: wide(name) for name in MODELS},
    "wide pre-encoder": wide("rnnt", pre_encode_channels=96),
    "wide causal pre-encoder": wide("rnnt_stream", pre_encode_channels=96),
    "wide layers": wide("rnnt", width=512, heads=8, feed_forward=2048),
    "many heads": wide("rnnt", width=64, heads=32, feed_forward=128),
    "large vocabulary": replace(wide("ctc"), vocabulary=8192),
}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("samples", [[20_000], [160_000] * 3, [160_000, 90_000, 10_000], [960_000]], ids=str)
def test_a_batch_takes_no_more_than_its_bound_and_not_much_less(name: str, samples: list[int]) -> None:
    measured = peak_bytes(SIZES[name], samples)
    bound = batch_bytes(SIZES[name], len(samples), max(samples) // FRAME_SAMPLES + 1)
    assert measured <= bound <= 1.5 * measured


@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8"])
@pytest.mark.parametrize("name", ["rnnt", "ctc", "wide causal pre-encoder", "wide layers", "many heads"])
def test_a_batch_in_a_smaller_precision_takes_no_more_than_its_bound(name: str, precision: Precision) -> None:
    measured = peak_bytes(SIZES[name], [160_000, 90_000], precision)
    assert measured <= batch_bytes(SIZES[name], 2, 160_000 // FRAME_SAMPLES + 1, precision)


def test_what_is_alive_is_counted_once_and_only_while_it_lives() -> None:
    live = LiveBytes()
    with torch.inference_mode(), live:
        kept = torch.zeros(1000)
        live.forget()
        view = kept[:500]
        first = torch.zeros(250)
        both = view[:250] + first
        del first, both
        torch.zeros(400).add_(1)
    assert live.peak == 2000


def test_a_slot_is_what_a_live_stream_takes(built: Callable[[str], FastConformer]) -> None:
    model = built("rnnt_stream")
    streams = LiveStreams(model, most=4)
    for latency in streams.classes:
        streams.open(latency)
        assert streams.bytes_per_slot(latency) == 4 * slot_values(model.config, latency).total


def test_a_slot_of_a_known_model_is_what_the_design_says() -> None:
    parsed = wide("rnnt_stream", layers=24, width=1024, conv_left=8, pre_encode_channels=256, mels=128)
    parsed = replace(parsed, transducer=None)
    values = slot_values(parsed, latency_classes(parsed)[0])
    assert values.keys_values == 24 * 2 * (56 + 14) * 1024
    assert values.convolution == 24 * 8 * 1024
    assert values.pre_encoder == 128 + 256 * (65 + 33)
    assert values.predictor == 0


@given(st.lists(st.integers(0, 4_000_000), max_size=60))
def test_groups_hold_every_recording_once_by_length_and_within_the_bound(samples: list[int]) -> None:
    parsed = SIZES["wide pre-encoder"]
    found = groups(parsed, samples)
    assert sorted(index for group in found for index in group) == list(range(len(samples)))
    lengths = [samples[index] for group in found for index in group]
    assert lengths == sorted(lengths, reverse=True)
    for group in found:
        frames = samples[group[0]] // FRAME_SAMPLES + 1
        assert len(group) == 1 or batch_bytes(parsed, len(group), frames) <= BATCH_BYTES


@pytest.mark.parametrize("name", SIZES)
def test_the_longest_recording_is_the_longest_that_fits(name: str) -> None:
    parsed = SIZES[name]
    frames = int(longest_s(parsed) * RATE_HZ) // FRAME_SAMPLES + 1
    assert batch_bytes(parsed, 1, frames) <= RECORDING_BYTES
    assert batch_bytes(parsed, 1, frames + 30) > RECORDING_BYTES
