"""Tensors of a `.safetensors` file, read without trusting it.

The format: eight bytes that count those of the header, a JSON header that names each tensor's type, shape and place,
and the tensors' bytes one after the other, little-endian, without a gap (https://github.com/huggingface/safetensors).
Nothing in it is executed, and nothing is allocated that the file does not hold.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from auricle.errors import ModelError, UnsupportedError

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

    import torch

_LENGTH_BYTES = 8
_LARGEST_HEADER_BYTES = 100_000_000
_MOST_DIMENSIONS = 8
_METADATA = "__metadata__"
_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_REMEDY = "get the model again"


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read all tensors of the file at `path` into memory, by name.

    Raises ModelError for a file that is missing, truncated or damaged, and UnsupportedError for a data type that this
    runtime does not know.
    """
    try:
        with path.open("rb") as file:
            entries = _entries(file, path.stat().st_size, path)
            return {entry.key: _tensor(file, entry, path) for entry in entries}
    except OSError as error:
        raise ModelError(f"cannot read the weights ({error.strerror})", path, _REMEDY) from error


def _entries(file: BufferedReader, size: int, path: Path) -> list[_Entry]:
    """Return what the header names, in the order of the bytes; they fill the file exactly."""
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if size < _LENGTH_BYTES or length > min(_LARGEST_HEADER_BYTES, size - _LENGTH_BYTES):
        raise ModelError("the weights are truncated, or no safetensors", path, _REMEDY)
    try:
        header = json.loads(file.read(length), object_pairs_hook=_table)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the header of the weights is damaged ({error})", path, _REMEDY) from error
    if not isinstance(header, dict):
        raise ModelError("the header of the weights is no table", path, _REMEDY)
    header.pop(_METADATA, None)
    entries = sorted((_entry(key, value, path) for key, value in header.items()), key=lambda one: (one.start, one.end))
    places = [0, *(place for one in entries for place in (one.start, one.end)), size - _LENGTH_BYTES - length]
    if any(before != after for before, after in list(pairwise(places))[::2]):
        raise ModelError("the tensors do not fill the file: it is truncated or damaged", path, _REMEDY)
    return entries


def _table(items: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(items)
    if len(table) != len(items):
        raise ValueError("a name stands there twice")
    return table


def _entry(key: str, value: object, path: Path) -> _Entry:
    import torch

    match value:
        case {"dtype": str() as name, "shape": list() as shape, "data_offsets": [int() as start, int() as end]}:
            pass
        case _:
            raise ModelError(f"the header of the weights is damaged at {key!r:.80}", path, _REMEDY)
    if name not in _TYPES:
        raise UnsupportedError(f"{path.name} holds weights of an unknown data type", f"{key:.80}: {name:.20}", _REMEDY)
    dtype: torch.dtype = getattr(torch, _TYPES[name])
    if len(shape) > _MOST_DIMENSIONS or any(type(size) is not int or size < 0 for size in shape):
        raise ModelError(f"a tensor has an impossible shape: {key!r:.80}", path, _REMEDY)
    if start < 0 or end - start != math.prod(shape) * dtype.itemsize:
        raise ModelError(f"a tensor does not fit its place: {key!r:.80}", path, _REMEDY)
    return _Entry(key, dtype, tuple(shape), start, end)


def _tensor(file: BufferedReader, entry: _Entry, path: Path) -> torch.Tensor:
    import torch

    data = torch.empty(entry.end - entry.start, dtype=torch.uint8)
    if file.readinto(data.numpy().data) != len(data):
        raise ModelError("the weights are truncated", path, _REMEDY)
    return data.view(entry.dtype).reshape(entry.shape)
