"""What a precision makes of a model: the types of its weights and state, how near its frames are, what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from auricle.errors import ModelError
from auricle.fastconformer.encoder import Encoder
from auricle.fastconformer.loading import load
from auricle.fastconformer.measure import held
from auricle.fastconformer.memory import slot_bytes
from tests.fastconformer.checkpoints import build, config, recording, weights, write
from tests.fastconformer.live import Recorder, play

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.fastconformer.model import FastConformer
    from auricle.fastconformer.precision import Precision

    Models = Callable[[str, Precision], FastConformer]

SMALLER: tuple[Precision, ...] = ("bf16", "fp16", "int8")
RECORDINGS = [recording(samples, samples) for samples in (56_000, 40_000, 23_000)]
FARTHEST = {"bf16": 0.08, "fp16": 0.01, "int8": 0.15}
"""How far frames of random weights may be from those of fp32, as a share of their size."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Load a model of `checkpoints` in a precision, once for all tests."""
    known: dict[tuple[str, Precision], FastConformer] = {}
    folder = tmp_path_factory.mktemp("nemo")

    def model(name: str, precision: Precision) -> FastConformer:
        if (name, precision) not in known:
            known[name, precision] = load(build(name, folder), precision)
        return known[name, precision]

    return model


@pytest.mark.parametrize("precision", SMALLER)
@pytest.mark.parametrize("name", ["rnnt", "tdt", "ctc", "live_hybrid"])
def test_frames_are_near_those_of_single_precision(models: Models, name: str, precision: Precision) -> None:
    expected, lengths = models(name, "fp32").encode(RECORDINGS)
    frames, same = models(name, precision).encode(RECORDINGS)
    assert frames.dtype == torch.float32
    assert same.equal(lengths)
    for row, wanted, length in zip(frames.float(), expected, lengths.tolist(), strict=True):
        distance = (row[:length] - wanted[:length]).norm() / wanted[:length].norm()
        assert 0 < distance < FARTHEST[precision]


@pytest.mark.parametrize("precision", ["fp32", *SMALLER])
@pytest.mark.parametrize("name", ["tdt", "live_hybrid"])
def test_weights_have_the_types_of_the_precision_as_told_without_loading(
    models: Models, name: str, precision: Precision
) -> None:
    model = models(name, precision)
    assert model.weights == held(model.config, precision)
    main = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "int8": "int8"}[precision]
    assert main in {group.dtype for group in model.trained}
    if precision in {"bf16", "fp16"}:
        smaller = {group.dtype: group.count for group in model.trained}[main]
        norms = model.config.encoder.layers * 2 * model.config.encoder.width
        assert smaller == sum(value.numel() for value in Encoder(model.config.encoder).parameters()) - norms


def test_int8_takes_the_linear_layers_of_the_encoder_alone(models: Models) -> None:
    model = models("rnnt_stream", "int8")
    encoder = model.config.encoder
    square, feed = encoder.width**2, encoder.width * encoder.feed_forward
    counts = {group.dtype: group.count for group in model.weights}
    assert counts["int8"] == encoder.layers * (5 * square + 3 * square + 4 * feed)
    assert sum(count for kernel, count in model.kernels.items() if "int8" in kernel) == encoder.layers * (5 + 2 + 4)


@pytest.mark.parametrize("precision", SMALLER)
@pytest.mark.parametrize("name", ["rnnt_stream", "live_tdt", "live_hybrid"])
def test_live_frames_are_near_those_of_files_and_state_is_as_small_as_told(
    models: Models, name: str, precision: Precision
) -> None:
    model = models(name, precision)
    streams = Recorder(model, most=3)
    for latency, context in zip(streams.classes, model.contexts, strict=True):
        expected, lengths = model.encode(RECORDINGS, context)
        plays = play(streams, latency, RECORDINGS)
        for one, wanted, length in zip(plays, expected.float(), lengths.tolist(), strict=True):
            found = streams.taken(one.stream).float()
            assert len(found) == length
            assert (found - wanted[:length]).norm() < FARTHEST[precision] * wanted[:length].norm()
            streams.close(one.stream)
        assert streams.bytes_per_slot(latency) == slot_bytes(model.config, latency, precision)


@pytest.mark.parametrize("precision", SMALLER)
def test_a_stream_does_not_depend_on_its_company_in_a_block(models: Models, precision: Precision) -> None:
    model = models("rnnt_stream", precision)
    heard = []
    for company in ([], RECORDINGS[1:]):
        streams = Recorder(model, most=4, sizes=(4,))
        plays = play(streams, streams.classes[1], [RECORDINGS[0], *company])
        heard.append((streams.taken(plays[0].stream), plays[0].tokens))
    assert heard[0][0].equal(heard[1][0])
    assert heard[0][1] == heard[1][1]


@pytest.mark.parametrize(
    ("planted", "precision", "says"),
    [
        (1e5, "fp16", r"not finite in fp16: encoder\.pre_encode\.conv\.0\.weight .*use bf16 or fp32"),
        (float("nan"), "fp32", r"not finite in fp32: encoder\.pre_encode\.conv\.0\.weight .*get the archive again"),
        (float("inf"), "int8", r"not finite in int8: encoder\.pre_encode\.conv\.0\.weight"),
    ],
)
def test_a_weight_that_is_not_finite_is_refused_by_name(
    tmp_path: Path, planted: float, precision: Precision, says: str
) -> None:
    values = config("ctc")
    tensors = weights(values, seed=5)
    tensors["encoder.pre_encode.conv.0.weight"][0, 0, 1, 1] = planted
    path = write(tmp_path / "a.nemo", values, tensors)
    with pytest.raises(ModelError, match=says):
        load(path, precision)
    if planted == 1e5:
        assert load(path, "bf16").precision == "bf16"


def test_weights_stored_in_sixteen_bits_are_computed_as_asked(tmp_path: Path) -> None:
    values = config("ctc")
    halved = {
        key: value.bfloat16() if value.is_floating_point() else value for key, value in weights(values, seed=5).items()
    }
    path = write(tmp_path / "half.nemo", values, halved)
    assert {group.dtype for group in load(path, "fp32").trained} == {"float32", "int64"}
    assert {group.dtype for group in load(path, "bf16").trained} == {"bfloat16", "float32", "int64"}
    assert load(path).encode(RECORDINGS)[0].dtype == torch.float32
