"""What is told of an archive is what it holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from auricle.errors import AuricleError, UnsupportedError
from auricle.fastconformer.cards import GB, smallest_card
from auricle.fastconformer.describe import describe
from tests.fastconformer.checkpoints import build, config, weights, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "family", "decoders"),
    [
        ("rnnt", "FastConformer RNN-T", ["transducer"]),
        ("tdt", "FastConformer TDT", ["transducer"]),
        ("ctc", "FastConformer CTC", ["ctc"]),
        ("hybrid_tdt", "FastConformer TDT + CTC", ["transducer", "ctc"]),
        ("hybrid_stream", "FastConformer RNN-T + CTC", ["transducer", "ctc"]),
    ],
)
def test_the_family_is_told_by_its_decoders(name: str, family: str, decoders: list[str], tmp_path: Path) -> None:
    facts = describe(build(name, tmp_path))
    assert (facts["family"], facts["decoders"]) == (family, decoders)


def test_weights_are_counted_as_the_archive_holds_them(tmp_path: Path) -> None:
    values = config("ctc")
    tensors = weights(values, seed=5)
    whole = {group["dtype"]: group for group in describe(write(tmp_path / "a.nemo", values, tensors))["weights"]}
    floats = sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point())
    assert whole["float32"] == {"dtype": "float32", "count": floats, "bytes": 4 * floats}
    assert whole["int64"]["count"] == len(tensors) - sum(tensor.is_floating_point() for tensor in tensors.values())
    halved = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    half = {group["dtype"]: group for group in describe(write(tmp_path / "b.nemo", values, halved))["weights"]}
    assert half["float16"]["bytes"] == whole["float32"]["bytes"] // 2


def test_parameters_are_what_was_trained(tmp_path: Path) -> None:
    facts = describe(build("ctc", tmp_path))
    tensors = weights(config("ctc"), seed=5)
    kept = [key for key in tensors if "featurizer" not in key and "running" not in key and "tracked" not in key]
    assert facts["parameters"] == sum(tensors[key].numel() for key in kept)


def test_every_lookahead_has_its_delay_and_the_size_of_its_slot(tmp_path: Path) -> None:
    facts = describe(build("rnnt_stream", tmp_path))
    rows = facts["latency_classes"]
    assert facts["not_live"] is None
    assert [(row["left"], row["right"], row["chunk_ms"], row["lookahead_ms"]) for row in rows] == [
        (56, 13, 1120, 1052.5),
        (56, 6, 560, 492.5),
        (28, 1, 160, 92.5),
        (10, 0, 80, 12.5),
    ]
    for row in rows:
        ring = 2 * 2 * (row["left"] + row["right"] + 1) * 32
        assert row["slot_values"]["keys_values"] == ring
        sizes, values = row["slot_bytes"], row["slot_values"]
        assert sizes["fp32"] == sizes["int8"] == 4 * sum(values.values())
        assert sizes["bf16"] == sizes["fp16"] == 2 * sum(values.values()) + 2 * values["predictor"]


def test_a_model_that_cannot_be_served_live_says_why(tmp_path: Path) -> None:
    facts = describe(build("rnnt", tmp_path))
    assert facts["latency_classes"] == []
    assert "per_feature" in facts["not_live"]


def test_memory_grows_with_the_batch_and_the_length_and_all_is_json(tmp_path: Path) -> None:
    facts = json.loads(json.dumps(describe(build("tdt", tmp_path))))
    peaks = {(row["precision"], row["batch"], row["seconds"]): row["bytes"] for row in facts["memory"]["peaks"]}
    for precision in ("fp32", "bf16", "int8"):
        assert peaks[precision, 1, 30] == pytest.approx(3 * peaks[precision, 1, 10], rel=0.1)
        assert peaks[precision, 8, 30] == pytest.approx(8 * peaks[precision, 1, 30], rel=0.1)


def test_each_precision_has_its_weights_and_the_smallest_cards_that_hold_it(tmp_path: Path) -> None:
    facts = describe(build("rnnt_stream", tmp_path))
    sizes = {row["precision"]: row["bytes"] for row in facts["precisions"]}
    assert sizes["int8"] < sizes["bf16"] < sizes["fp32"]
    for row in facts["precisions"]:
        assert row["bytes"] == sum(group["bytes"] for group in row["weights"])
        assert row["card_files"] == "T4"
        assert row["card_streams"] == dict.fromkeys(("1120", "560", "160", "80"), "T4")


@pytest.mark.parametrize(
    ("gigabytes", "card"), [(0, "T4"), (14, "L4"), (40, "L40S"), (60, "A100 80 GB"), (100, "H200"), (140, None)]
)
def test_the_smallest_card_leaves_room_for_what_is_not_tensors(gigabytes: int, card: str | None) -> None:
    assert smallest_card(gigabytes * GB) == card


def test_a_wrong_archive_is_refused_by_its_key(tmp_path: Path) -> None:
    values = config("ctc")
    tensors = weights(values, seed=5)
    key = tensors.popitem()[0]
    with pytest.raises(AuricleError, match=f"lacks a weight: {key}"):
        describe(write(tmp_path / "a.nemo", values, tensors))
    values["encoder"]["subsampling"] = "stacking"
    with pytest.raises(UnsupportedError, match=r"encoder\.subsampling = 'stacking'"):
        describe(write(tmp_path / "b.nemo", values, tensors))
