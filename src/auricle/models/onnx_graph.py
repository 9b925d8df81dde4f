"""What an ONNX file says of itself, read from its graph without running or fully trusting it."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from auricle.errors import ModelError, NotInstalledError
from auricle.models.onnx_wire import without_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# Operators of the ONNX and com.microsoft domains that compute on quantised values or convert to and from them.
_QUANTISED_OP = re.compile(r"^Q[A-Z]|Quantize|Integer|NBits|Bnb4")
_REMEDY = "download the model again with `auricle models pull`, or check that the file is an ONNX model"


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """One input or output: a dimension is a number, the name of a symbol, or None when nothing is said of it."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """All stored tensors of one data type: how many values and how many bytes they take."""

    dtype: str
    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What the graph declares; `weights` counts initialisers and constants, subgraphs and external data included.

    `opset` is that of the default operator domain, None if the file names none; `external_files` are the names of
    the files beside it that hold its weights.
    """

    metadata: Mapping[str, str]
    weights: tuple[StoredWeights, ...]
    quantised_ops: Mapping[str, int]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    opset: int | None
    external_files: tuple[str, ...] = ()


def read_graph(path: Path) -> GraphFacts:
    """Read the facts of the ONNX file at `path`; its weights are counted, not loaded from external files.

    Raises NotInstalledError without the `onnx` package, ModelError for a file that is missing, is no ONNX model, or
    whose external data is missing or too short.
    """
    try:
        import onnx
    except ImportError as error:
        raise NotInstalledError(
            "reading an ONNX file needs the onnx package", path.name, 'pip install "auricle[sherpa]"'
        ) from error
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

    try:
        with path.open("rb") as file:
            model = onnx.load_from_string(without_weights(file), format="protobuf")
        if not model.graph.node:
            raise ModelError("not an ONNX model: it has no operators", path, _REMEDY)
        return _facts(model, path)
    except OSError as error:
        raise ModelError(f"cannot read the model file ({error.strerror})", path, _REMEDY) from error
    except (DecodeError, ValueError) as error:
        raise ModelError("not an ONNX model, or damaged", path, _REMEDY) from error


def _facts(model: Any, path: Path) -> GraphFacts:
    nodes = [*_nodes(model.graph.node), *(node for function in model.functions for node in _nodes(function.node))]
    tensors = [*_initialisers(model.graph, nodes), *_constants(nodes)]
    stored = {tensor.name for tensor in model.graph.initializer}
    opsets = [opset.version for opset in model.opset_import if opset.domain in {"", "ai.onnx"}]
    quantised = Counter(kind for kind in (_text(node.op_type) for node in nodes) if _QUANTISED_OP.search(kind))
    return GraphFacts(
        metadata={_text(entry.key): _text(entry.value) for entry in model.metadata_props},
        weights=_weights(tensors),
        quantised_ops=dict(sorted(quantised.items())),
        inputs=tuple(_tensor_facts(value) for value in model.graph.input if value.name not in stored),
        outputs=tuple(_tensor_facts(value) for value in model.graph.output),
        opset=opsets[0] if opsets else None,
        external_files=_external_files(tensors, path),
    )


def _text(value: str | bytes) -> str:
    """A string field; protobuf gives bytes for one that is no UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _nodes(nodes: Any) -> Iterator[Any]:
    """Yield the nodes and, after each, those of the subgraphs in its attributes (If, Loop, Scan)."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


def _initialisers(graph: Any, nodes: list[Any]) -> Iterator[Any]:
    subgraphs = (g for node in nodes for attribute in node.attribute for g in (attribute.g, *attribute.graphs))
    for each in (graph, *subgraphs):
        yield from each.initializer
        for sparse in each.sparse_initializer:
            yield from (sparse.values, sparse.indices)


def _constants(nodes: list[Any]) -> Iterator[Any]:
    for node in nodes:
        if node.op_type == "Constant":
            yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def _weights(tensors: list[Any]) -> tuple[StoredWeights, ...]:
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        if any(size < 0 for size in tensor.dims):
            raise ValueError("a tensor has a negative size")
        name = _dtype_name(tensor.data_type)
        counts[name] += (count := math.prod(tensor.dims))
        sizes[name] += _bytes(tensor, name, count)
    return tuple(StoredWeights(name, counts[name], size) for name, size in sizes.most_common())


def _bytes(tensor: Any, dtype: str, count: int) -> int:
    """Bytes of the values, which the file may store elsewhere or in another form."""
    if dtype == "string":
        return sum(len(value) for value in tensor.string_data)
    bits = re.search(r"\d+", dtype)
    return math.ceil(count * (int(bits[0]) if bits else 8) / 8)


def _dtype_name(number: int) -> str:
    import onnx

    try:
        name = str(onnx.TensorProto.DataType.Name(number)).lower()
    except ValueError:
        return "unknown"
    return {"float": "float32", "double": "float64"}.get(name, name)


def _tensor_facts(value: Any) -> TensorFacts:
    tensor = value.type.tensor_type
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else _text(dim.dim_param) or None for dim in tensor.shape.dim
    )
    return TensorFacts(_text(value.name), _dtype_name(tensor.elem_type), shape)


def _external_files(tensors: list[Any], path: Path) -> tuple[str, ...]:
    """Name the files that hold external data; each must be there and reach as far as the graph says."""
    needed: dict[str, int] = {}
    for tensor in tensors:
        entries = {_text(entry.key): _text(entry.value) for entry in tensor.external_data}
        if "location" in entries:
            end = _number(entries, "offset", path) + _number(entries, "length", path)
            needed[entries["location"]] = max(end, needed.get(entries["location"], 0))
    for name, size in needed.items():
        file = path.parent / name
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise ModelError(f"{path.name} points outside its folder", name, _REMEDY)
        if not file.is_file():
            raise ModelError(f"the weights of {path.name} are missing", file, _REMEDY)
        if file.stat().st_size < size:
            raise ModelError(f"the weights of {path.name} need {size} bytes, {name} is shorter", file, _REMEDY)
    return tuple(needed)


def _number(entries: Mapping[str, str], key: str, path: Path) -> int:
    try:
        return int(entries.get(key) or 0)
    except ValueError as error:
        raise ModelError(f"damaged external data entry {key}={entries[key]!r}", path, _REMEDY) from error
