from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from auricle.errors import ModelError
from auricle.models.files import find_model_file

if TYPE_CHECKING:
    from pathlib import Path

ALL = ("encoder.onnx", "encoder.fp32.onnx", "encoder.fp16.onnx", "encoder.int8.onnx")
GPU_ORDER = ("encoder.onnx", "encoder.fp32.onnx", "encoder.fp16.onnx", "encoder.int8.onnx")
CPU_ORDER = ("encoder.int8.onnx", "encoder.onnx", "encoder.fp32.onnx", "encoder.fp16.onnx")
PRECISIONS = {
    "encoder.onnx": None,
    "encoder.fp32.onnx": "fp32",
    "encoder.fp16.onnx": "fp16",
    "encoder.int8.onnx": "int8",
}


def folder_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize("present", [each for size in range(1, 5) for each in combinations(ALL, size)])
@pytest.mark.parametrize(
    ("device", "order"),
    [("cpu", CPU_ORDER), ("cuda", GPU_ORDER), ("cuda:1", GPU_ORDER), ("tensorrt", GPU_ORDER), ("coreml", GPU_ORDER)],
)
def test_the_first_that_exists_in_the_order_of_the_device_is_chosen(
    tmp_path: Path, device: str, order: tuple[str, ...], present: tuple[str, ...]
) -> None:
    chosen = find_model_file(folder_of(tmp_path, (*present, "encoder.txt", "decoder.onnx")), "encoder", device)
    expected = [name for name in order if name in present]
    assert chosen.path == tmp_path / expected[0]
    assert chosen.precision == PRECISIONS[expected[0]]
    assert chosen.considered == tuple(expected)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_precision_that_is_asked_for_decides(tmp_path: Path, device: str, precision: str) -> None:
    chosen = find_model_file(folder_of(tmp_path, ALL), "encoder", device, precision)
    assert (chosen.path.name, chosen.precision) == (f"encoder.{precision}.onnx", precision)


def test_a_plain_file_may_be_the_float_one_that_is_asked_for(tmp_path: Path) -> None:
    chosen = find_model_file(folder_of(tmp_path, ("encoder.onnx", "encoder.int8.onnx")), "encoder", "cpu", "fp32")
    assert (chosen.path.name, chosen.precision) == ("encoder.onnx", None)


@pytest.mark.parametrize("precision", ["fp16", "int8", "bf16"])
def test_a_precision_that_is_missing_is_refused_by_name(tmp_path: Path, precision: str) -> None:
    folder_of(tmp_path, ("encoder.onnx", "encoder.fp32.onnx"))
    with pytest.raises(
        ModelError, match=rf"no encoder\.{precision}\.onnx.*there is encoder\.onnx, encoder\.fp32\.onnx"
    ):
        find_model_file(tmp_path, "encoder", "cuda", precision)


def test_a_folder_without_the_model_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the folder holds no \.onnx file"):
        find_model_file(tmp_path, "encoder", "cpu")
    folder_of(tmp_path, ("tiny-encoder.onnx", "joiner.onnx"))
    with pytest.raises(ModelError, match=r"the folder holds joiner\.onnx, tiny-encoder\.onnx"):
        find_model_file(tmp_path, "encoder", "cpu")
    with pytest.raises(ModelError, match="existing model folder"):
        find_model_file(tmp_path / "none", "encoder", "cpu")


def test_a_folder_of_the_name_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "encoder.onnx").mkdir()
    assert find_model_file(folder_of(tmp_path, ("encoder.int8.onnx",)), "encoder", "cuda").precision == "int8"
