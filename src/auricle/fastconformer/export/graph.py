"""ONNX graphs written operator by operator, the weights of all graphs of a folder in one file beside them.

No tracing: every operator is chosen for ONNX Runtime and bears the name of the layer it belongs to, weights are never
copied into a protobuf, which holds no more than 2 GiB, and what several graphs use is stored once.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray
    from torch import Tensor

OPSET = 17
IR_VERSION = 8
INT64, FLOAT, INT32 = np.dtype(np.int64), np.dtype(np.float32), np.dtype(np.int32)

_INLINE_BYTES = 1024
_ALIGNED_BYTES = 4096
"""Where a weight may start, so that it can be mapped into memory."""


class WeightsFile:
    """The file that weights go to one after the other; a name that is there already is not written again."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._file = path.open("xb")
        self._places: dict[str, tuple[int, int]] = {}
        self.stored: list[tuple[str, int, int]] = []
        """Types, counts and bytes of all weights."""

    def place(self, name: str, values: NDArray[Any]) -> tuple[int, int]:
        """Return where in the file the values of a name are, and how many bytes they take."""
        if name not in self._places:
            start = -(-self._file.tell() // _ALIGNED_BYTES) * _ALIGNED_BYTES
            self._file.seek(start)
            self._file.write(np.ascontiguousarray(values).data)
            self._places[name] = start, values.nbytes
            self.stored.append((str(values.dtype), values.size, values.nbytes))
        return self._places[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


class Graph:
    """A graph in the making; values are known by their names. `quantises` says which linear layers are in int8."""

    def __init__(self, name: str, weights: WeightsFile, quantises: Callable[[str], bool] = lambda _: False) -> None:
        self.quantises = quantises
        self._name = name
        self._file = weights
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._stored: dict[str, Any] = {}
        self._scope = name
        self._domains: set[str] = set()

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Name the operators that are added within after a layer."""
        before, self._scope = self._scope, name
        yield
        self._scope = before

    def input(self, name: str, shape: Sequence[int | str], kind: np.dtype[Any] = FLOAT) -> str:
        """Add an input; dimensions that vary are given by name."""
        self._inputs.append(_declared(name, shape, kind))
        return name

    def output(self, name: str, shape: Sequence[int | str], kind: np.dtype[Any] = FLOAT) -> str:
        """Add an output, which some operator must give; return its name."""
        self._outputs.append(_declared(name, shape, kind))
        return name

    def __call__(self, kind: str, *inputs: str, out: str | None = None, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output and return the output's name."""
        return self.several(kind, 1, *inputs, outs=None if out is None else (out,), domain=domain, **attributes)[0]

    def several(
        self,
        kind: str,
        count: int,
        *inputs: str,
        outs: Sequence[str] | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[str]:
        """Add an operator with so many outputs and return their names."""
        from onnx import helper

        name = f"{self._scope}/{kind}_{len(self._nodes)}"
        names = outs or [f"{name}:{number}" for number in range(count)]
        self._domains.add(domain)
        self._nodes.append(helper.make_node(kind, inputs, names, name, domain=domain, **attributes))
        return names

    def weight(self, name: str, values: Tensor | NDArray[Any]) -> str:
        """Store a weight and return its name; small ones stand in the graph itself."""
        from onnx import TensorProto, helper, numpy_helper

        if name in self._stored:
            return name
        array = values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()
        if array.nbytes <= _INLINE_BYTES:
            self._stored[name] = numpy_helper.from_array(array, name)
            return name
        offset, length = self._file.place(name, array)
        tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self._file.name), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        self._stored[name] = tensor
        return name

    def whole(self, *values: int) -> str:
        """Return a constant list of whole numbers."""
        return self.weight(f"[{','.join(map(str, values))}]", np.array(values, np.int64))

    def one(self, value: int) -> str:
        """Return a constant whole number."""
        return self.weight(f"{value}", np.array(value, np.int64))

    def number(self, value: float) -> str:
        """Return a constant number."""
        return self.weight(f"{value}f", np.array(value, np.float32))

    def numbers(self, name: str, values: Sequence[float]) -> str:
        """Return a constant list of numbers."""
        return self.weight(name, np.array(values, np.float32))

    def save(self, path: Path, metadata: Mapping[str, object]) -> None:
        """Check the graph and write it, without the weights, with what it says of itself."""
        import onnx
        from onnx import helper

        versions = {"": OPSET, "com.microsoft": 1}
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, list(self._stored.values()))
        opsets = [helper.make_opsetid(domain, versions[domain]) for domain in sorted(self._domains | {""})]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="auricle")
        helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
        onnx.save(model, path)


def _declared(name: str, shape: Sequence[int | str], kind: np.dtype[Any]) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(kind), shape)
