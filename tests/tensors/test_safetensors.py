"""Safetensors are read exactly, and anything malformed is refused with one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import ModelError, UnsupportedError
from auricle.tensors.safetensors import read_safetensors
from tools.to_huggingface import write_safetensors

if TYPE_CHECKING:
    from pathlib import Path

ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
TWO = {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}


def saved(path: Path, header: Any, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 5),
        "b": torch.randn(2, 2, 2).to(torch.bfloat16),
        "count": torch.tensor(7),
        "none": torch.empty(0, 4),
    }
    write_safetensors(tmp_path / "x.safetensors", tensors)
    found = read_safetensors(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    for key, value in tensors.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("F64", torch.float64),
        ("F16", torch.float16),
        ("I32", torch.int32),
        ("I16", torch.int16),
        ("I8", torch.int8),
        ("U8", torch.uint8),
        ("BOOL", torch.bool),
    ],
)
def test_every_data_type_is_known(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    value = torch.tensor([1, 0, 1]).to(dtype)
    data = bytes(value.view(torch.uint8).tolist())
    header = {"x": {"dtype": name, "shape": [3], "data_offsets": [0, len(data)]}}
    assert torch.equal(read_safetensors(saved(tmp_path / "x", header, data))["x"], value)


@pytest.mark.parametrize(
    ("header", "data", "said"),
    [
        (b"", b"", "header of the weights is damaged"),
        (b"[]", b"", "no table"),
        (b"[" * 100_000, b"", "damaged"),
        (b'{"a": 1', b"", "damaged"),
        (b'{"a": 1, "a": 1}', b"", "twice"),
        ({"a": 1}, b"", "damaged at 'a'"),
        ({"a": {"dtype": "F32", "shape": [2]}}, bytes(8), "damaged at 'a'"),
        ({"a": {**ONE, "data_offsets": [0, 8.0]}}, bytes(8), "damaged at 'a'"),
        ({"a": {**ONE, "data_offsets": [0, 8, 8]}}, bytes(8), "damaged at 'a'"),
        ({"a": {**ONE, "shape": [-2]}}, bytes(8), "impossible shape"),
        ({"a": {**ONE, "shape": [True, 2]}}, bytes(8), "impossible shape"),
        ({"a": {**ONE, "shape": [1] * 1000}}, bytes(8), "impossible shape"),
        ({"a": {**ONE, "shape": [3]}}, bytes(8), "does not fit its place"),
        ({"a": {**ONE, "shape": [1 << 62, 1 << 62]}}, bytes(8), "does not fit its place"),
        ({"a": {**ONE, "data_offsets": [-8, 0]}}, bytes(8), "does not fit its place"),
        ({"a": {**ONE, "data_offsets": [8, 0]}}, bytes(8), "does not fit its place"),
        ({"a": ONE}, bytes(7), "do not fill the file"),
        ({"a": ONE}, bytes(9), "do not fill the file"),
        ({"a": ONE, "b": ONE}, bytes(8), "do not fill the file"),
        ({"a": ONE, "b": TWO}, bytes(12), "do not fill the file"),
        ({"b": TWO}, bytes(16), "do not fill the file"),
        ({"a": ONE, "b": {**ONE, "data_offsets": [4, 12]}}, bytes(12), "do not fill the file"),
        ({}, bytes(1), "do not fill the file"),
    ],
)
def test_a_malformed_file_is_refused(header: Any, data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        read_safetensors(saved(tmp_path / "x.safetensors", header, data))


@pytest.mark.parametrize("data", [b"", b"1234567", (1 << 63).to_bytes(8, "little"), (9).to_bytes(8, "little") + b"{}"])
def test_a_header_longer_than_the_file_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ModelError, match="truncated, or no safetensors"):
        read_safetensors(tmp_path / "x")


def test_an_unknown_data_type_is_refused_by_name(tmp_path: Path) -> None:
    header = {"a.weight": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}
    with pytest.raises(UnsupportedError, match=r"a\.weight: F8_E4M3"):
        read_safetensors(saved(tmp_path / "x", header, bytes(8)))


def test_a_missing_file_is_an_error_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read the weights"):
        read_safetensors(tmp_path / "nothing")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("safetensors") / "x"
    write_safetensors(path, {"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(4)})
    return path.read_bytes()


@given(place=st.integers(0, 10_000), value=st.integers(0, 255), kept=st.integers(0, 10_000))
def test_no_damage_does_more_than_raise_an_error_of_the_model(
    sound: bytes, tmp_path_factory: pytest.TempPathFactory, place: int, value: int, kept: int
) -> None:
    data = bytearray(sound)
    data[place % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(data[: len(data) - kept % len(data)] if kept % 2 else data)
    try:
        read_safetensors(path)
    except (ModelError, UnsupportedError) as error:
        assert "\n" not in str(error)  # noqa: PT017  what damage leaves readable is fine too
