"""An ONNX file without its weights, which are passed over while it is read.

Parsing a 620 MB encoder whole takes 1.2 GB for a moment, which a benchmark would count as the engine's own memory; the
types and sizes of the weights are told by what remains. The format: https://protobuf.dev/programming-guides/encoding/,
the field numbers: onnx.proto.
"""

from __future__ import annotations

from os import SEEK_END
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

_GRAPH_OF_MODEL = 7
_INITIALIZER_OF_GRAPH = 5
_RAW_DATA_OF_TENSOR = 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT_BYTES = 10


def without_weights(file: BinaryIO) -> bytes:
    """Encode the model again without the raw data of its graph's initialisers; raises ValueError when it is damaged."""
    return _replaced(file, range(file.seek(0, SEEK_END)), _GRAPH_OF_MODEL, _graph)


def _graph(file: BinaryIO, within: range) -> bytes:
    return _replaced(file, within, _INITIALIZER_OF_GRAPH, _tensor)


def _tensor(file: BinaryIO, within: range) -> bytes:
    kept = (whole for number, whole, _ in _fields(file, within) if number != _RAW_DATA_OF_TENSOR)
    return b"".join(_read(file, whole) for whole in kept)


def _replaced(file: BinaryIO, within: range, wanted: int, change: Callable[[BinaryIO, range], bytes]) -> bytes:
    parts = []
    for number, whole, content in _fields(file, within):
        if number == wanted and content is not None:
            changed = change(file, content)
            parts += [_varint(number << 3 | _BYTES), _varint(len(changed)), changed]
        else:
            parts.append(_read(file, whole))
    return b"".join(parts)


def _fields(file: BinaryIO, within: range) -> Iterator[tuple[int, range, range | None]]:
    """Yield each field's number and where it lies, and where its content does if that is a message, string or bytes."""
    start = within.start
    while start < within.stop:
        key, position = _read_varint(file, start)
        kind = key & 7
        size = 0
        if kind == _VARINT:
            _, position = _read_varint(file, position)
        elif kind == _BYTES:
            size, position = _read_varint(file, position)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        end = position + size
        if end > within.stop:
            raise ValueError("a field reaches beyond the end")
        yield key >> 3, range(start, end), range(position, end) if kind == _BYTES else None
        start = end


def _read_varint(file: BinaryIO, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(_read(file, range(position, position + _LONGEST_VARINT_BYTES))):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 1 << 7:
            return value, position + index + 1
    raise ValueError("a number does not end")


def _read(file: BinaryIO, where: range) -> bytes:
    file.seek(where.start)
    return file.read(len(where))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 1 << 7:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
