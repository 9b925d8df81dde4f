"""What is in CTranslate2's `model.bin`: how many weights of which type, read from the heads of its variables.

Layout (versions 4 to 6, little-endian): version u32; name of the model, a string; its revision u32; number of variables
u32; then for each its name, a string, its rank u8, dimensions u32, type u8, bytes u32, values. A string is its length
u16 with a final zero, then as many bytes.
"""

from __future__ import annotations

import struct
from collections import Counter
from math import prod
from typing import TYPE_CHECKING, BinaryIO

from auricle.engines.contract import WeightGroup
from auricle.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

FILE = "model.bin"
VERSIONS = range(4, 7)
DTYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
MOST_VARIABLES = 100_000
MOST_DIMENSIONS = 8


def read_weights(folder: Path) -> tuple[WeightGroup, ...]:
    """Return the weights in a folder's `model.bin`, those that take most first; raises ModelError."""
    path = folder / FILE
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    try:
        with path.open("rb") as file:
            for dtype, count, size in filter(None, _variables(file)):
                counts[dtype] += count
                sizes[dtype] += size
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise ModelError("not a model of CTranslate2", f"{path} ({error})", "convert it again") from error
    return tuple(WeightGroup(dtype, counts[dtype], size) for dtype, size in sizes.most_common())


def _variables(file: BinaryIO) -> list[tuple[str, int, int] | None]:
    (version,) = _numbers(file, "<I")
    if version not in VERSIONS:
        raise ValueError(f"version {version}")
    _string(file)
    _, count = _numbers(file, "<II")
    if count > MOST_VARIABLES:
        raise ValueError(f"{count} variables")
    return [_variable(file) for _ in range(count)]


def _variable(file: BinaryIO) -> tuple[str, int, int] | None:
    """Read one head; None for a single number, which is a setting."""
    _string(file)
    (rank,) = _numbers(file, "<B")
    if rank > MOST_DIMENSIONS:
        raise ValueError(f"rank {rank}")
    shape = _numbers(file, f"<{rank}I")
    dtype, size = _numbers(file, "<BI")
    file.seek(size, 1)
    return (DTYPES[dtype], prod(shape), size) if rank else None


def _string(file: BinaryIO) -> bytes:
    (length,) = _numbers(file, "<H")
    return file.read(length)


def _numbers(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
