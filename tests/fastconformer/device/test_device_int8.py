"""Weights of eight bits on a device: what they stand for, and that they really take a byte each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional

from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.device.int8 import Int8Linear, quantised, restored
from auricle.fastconformer.device.streams import DeviceStreams
from auricle.fastconformer.precision import DTYPES
from tests.fastconformer.checkpoints import build, recording
from tests.fastconformer.device.devices import live, whole
from tests.fastconformer.homophones import DIGITS, digits, spoken, texts
from tests.fastconformer.live import play

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.fastconformer.precision import Precision


@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (96, 64), (3, 257)], ids=str)
def test_a_weight_stands_for_what_it_was_to_half_a_step_of_its_output(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape) * torch.logspace(-6, 6, shape[0])[:, None]
    whole_numbers, scales = quantised(weight)
    assert whole_numbers.dtype == torch.int8
    assert scales.shape == (shape[0], 1)
    apart = (restored(whole_numbers, scales, torch.float32) - weight).abs()
    assert bool((apart <= 0.501 * scales).all())


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_a_layer_is_the_linear_layer_of_the_weight_that_it_stands_for(dtype: Precision) -> None:
    weight, bias = torch.randn(9, 31, 1), torch.randn(9).to(DTYPES[dtype])
    layer, x = Int8Linear(weight, bias), torch.randn(2, 5, 31).to(DTYPES[dtype])
    exact = restored(*quantised(weight[..., 0]), torch.float64)
    tolerance = {"fp32": 1e-5, "bf16": 0.15, "fp16": 0.02}[dtype]
    wanted = functional.linear(x.double(), exact, bias.double())
    torch.testing.assert_close(layer(x).double(), wanted, rtol=0, atol=tolerance)
    assert layer(x).dtype == DTYPES[dtype]


def test_a_row_of_zeros_stays_zeros() -> None:
    assert not Int8Linear(torch.zeros(3, 5))(torch.ones(2, 5)).any()


def test_the_linear_layers_of_the_encoders_layers_take_a_byte_a_weight_live_and_in_files(tmp_path: Path) -> None:
    small, large = (whole("live_tdt", tmp_path, precision=precision) for precision in ("int8", "bf16"))
    assert small.parameters == large.parameters
    groups = {one.dtype: one for one in small.weights}
    assert groups["int8"].bytes == groups["int8"].count
    layers = live(read_archive(build("live_tdt", tmp_path)), precision="int8").encoder._layers
    held = [linear for layer in layers for linear in (layer.projections, layer.attended, layer.gated, layer.convolved)]
    held += [linear for layer in layers for pair in layer.feed_forward for linear in pair]
    assert {linear.weight.dtype for linear in held} == {torch.int8}
    # Live, positions are projected beforehand.
    width = small.config.encoder.width
    assert sum(linear.weight.numel() for linear in held) == groups["int8"].count - len(layers) * width**2
    assert small.kernels["torch-int8-weights"] == 11 * len(layers)


def test_streams_keep_what_they_keep_in_bf16_and_hear_the_digits() -> None:
    small, larger = (live(read_archive(DIGITS), precision=precision) for precision in ("int8", "bf16"))
    streams = DeviceStreams(small, 8, (8,))
    assert streams.bytes_per_slot == DeviceStreams(larger, 8, (8,)).bytes_per_slot
    heard = play(streams, streams.classes[1], [spoken(text) for text in texts()])
    assert [digits().tokenizer.text(one.tokens) for one in heard] == texts()


def test_a_stream_is_the_same_bit_for_bit_alone_and_among_others(tmp_path: Path) -> None:
    model = live(read_archive(build("rnnt_stream", tmp_path)), precision="int8")
    audio = [recording(9000 + 2011 * number, seed=number) for number in range(4)]
    together = play(DeviceStreams(model, 4, (4,)), model.classes[2], audio)
    (alone,) = play(DeviceStreams(model, 4, (4,)), model.classes[2], audio[2:3])
    assert alone.tokens == together[2].tokens
