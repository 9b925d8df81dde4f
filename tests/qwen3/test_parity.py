"""Our features, encoder and loop against transformers' own, over awkward lengths, alone and in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from auricle.qwen3.model import Qwen3Asr
from auricle.qwen3.precision import Precisions
from tests.qwen3 import reference
from tests.qwen3.checkpoints import network, recording, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from auricle.qwen3.linear import Layout
    from auricle.qwen3.stages import Meter

LENGTHS = (1, 300, 7_999, 8_000, 8_001, 15_999, 16_000, 16_161, 40_000, 127_999, 128_000, 128_161, 208_000)
"""In samples: below the shortest, around a chunk of a second and a window of eight, and odd ones."""

BATCH = (300, 8_000, 15_999, 16_001, 20_000, 40_000, 127_999, 128_161, 208_000)
TOKENS = 28


def generated(
    model: Qwen3Asr, recordings: Sequence[NDArray[np.float32]], meter: Meter, tokens: int = TOKENS
) -> list[list[int]]:
    prompts = model.prompt(model.encode(recordings, meter), [tokens] * len(recordings))
    return model.generator(prompts, meter, lambda: None)


@pytest.mark.parametrize("samples", LENGTHS)
def test_features_and_encoder_are_those_of_transformers(
    model: Qwen3Asr, theirs: Any, meter: Meter, samples: int
) -> None:
    heard = recording(samples)
    features, mask = reference.features(heard)
    frames = int(mask.sum())
    ours = model.features(heard)
    assert ours.shape == (128, frames)
    assert torch.allclose(ours, features[0, :, :frames], atol=1e-6)
    expected = reference.encoded(theirs, heard)
    (found,) = model.encode([heard], meter)
    assert found.shape == expected.shape == (model.config.encoder.tokens(frames), 40)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("samples", LENGTHS)
def test_tokens_of_one_recording_are_those_of_generate(
    model: Qwen3Asr, theirs: Any, meter: Meter, samples: int
) -> None:
    heard = [recording(samples)]
    assert generated(model, heard, meter) == reference.generated(theirs, model, heard, TOKENS)


def test_tokens_of_a_batch_of_different_lengths_are_those_of_generate_and_of_each_alone(
    model: Qwen3Asr, theirs: Any, meter: Meter
) -> None:
    heard = [recording(samples) for samples in BATCH]
    together = generated(model, heard, meter)
    assert together == reference.generated(theirs, model, heard, TOKENS)
    assert together == [generated(model, [one], meter)[0] for one in heard]
    assert together[::-1] == generated(model, heard[::-1], meter)
    assert len({len(said) for said in together}) > 1, "some rows end before others"
    assert len(set(map(tuple, together))) > len(BATCH) // 2


@pytest.mark.parametrize("layout", ["plain", "packed"])
def test_the_layout_of_weights_changes_no_token(folder: Path, model: Qwen3Asr, meter: Meter, layout: Layout) -> None:
    other = Qwen3Asr(folder, layout=layout)
    heard = [recording(samples) for samples in BATCH[2:5]]
    assert generated(other, heard, meter) == generated(model, heard, meter)
    assert generated(other, heard[:1], meter) == generated(model, heard[:1], meter)


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_other_weights_say_other_things_and_the_same_as_transformers(tmp_path: Path, meter: Meter, seed: int) -> None:
    theirs = network(seed)
    model = Qwen3Asr(write(tmp_path, theirs))
    heard = [recording(samples) for samples in BATCH[::2]]
    assert generated(model, heard, meter) == reference.generated(theirs, model, heard, TOKENS)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_decoder_in_sixteen_bits_is_near_the_one_in_single_precision(
    folder: Path, model: Qwen3Asr, precision: Any
) -> None:
    reduced = Qwen3Asr(folder, Precisions("fp32", precision))
    x = torch.randn(2, 30, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = (one.decoder.prefill(x)[0] for one in (model, reduced))
    error = (found - expected).norm() / expected.norm()
    assert 0 < error < {"bf16": 0.05, "fp16": 0.005}[precision]
