from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from auricle.errors import ModelError
from auricle.models.onnx_graph import StoredWeights, TensorFacts, read_graph
from auricle.models.summary import inspect

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx", reason="the sherpa extra brings onnx")


def model_of(nodes: list[Any], weights: list[Any], metadata: dict[str, str] | None = None) -> Any:
    float_type = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info("x", float_type, ["batch", 4, None])]
    outputs = [onnx.helper.make_tensor_value_info("y", float_type, [1])]
    graph = onnx.helper.make_graph(nodes, "graph", inputs, outputs, weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.helper.set_model_props(model, metadata or {})
    return model


def weight(name: str, values: Any) -> Any:
    return onnx.numpy_helper.from_array(np.asarray(values), name)


def node(kind: str, domain: str = "", **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, ["x"], ["y"], domain=domain, **attributes)


def test_a_graph_tells_its_metadata_its_weights_and_its_shapes(tmp_path: Path) -> None:
    weights = [weight("a", np.ones((3, 4), np.float32)), weight("b", np.ones(5, np.float16)), weight("c", np.int64(7))]
    onnx.save(model_of([node("Relu")], weights, {"vocab_size": "500"}), tmp_path / "m.onnx")
    facts = read_graph(tmp_path / "m.onnx")
    assert facts.metadata == {"vocab_size": "500"}
    assert set(facts.weights) == {
        StoredWeights("float32", 12, 48),
        StoredWeights("float16", 5, 10),
        StoredWeights("int64", 1, 8),
    }
    assert facts.inputs == (TensorFacts("x", "float32", ("batch", 4, None)),)
    assert facts.outputs == (TensorFacts("y", "float32", (1,)),)
    assert (facts.opset, facts.quantised_ops, facts.external_files) == (17, {}, ())


def test_weights_in_subgraphs_and_constants_are_counted(tmp_path: Path) -> None:
    inner = onnx.helper.make_graph(
        [node("Constant", value=weight("", np.ones(10, np.float32)))],
        "inner",
        [],
        [],
        [weight("w", np.ones(6, np.int8))],
    )
    onnx.save(model_of([node("If", then_branch=inner, else_branch=inner)], []), tmp_path / "m.onnx")
    weights = {group.dtype: (group.count, group.bytes) for group in read_graph(tmp_path / "m.onnx").weights}
    assert weights == {"float32": (20, 80), "int8": (12, 12)}


@pytest.mark.parametrize("kind", ["float32", "int8", "bfloat16", "int4"])
def test_bytes_are_those_of_the_type_however_they_are_stored(tmp_path: Path, kind: str) -> None:
    types = {"float32": (1, 4.0), "int8": (3, 1.0), "bfloat16": (16, 2.0), "int4": (22, 0.5)}
    number, size = types[kind]
    tensor = onnx.helper.make_tensor("w", number, [7], [1] * 7)
    onnx.save(model_of([node("Relu")], [tensor]), tmp_path / "m.onnx")
    assert read_graph(tmp_path / "m.onnx").weights == (StoredWeights(kind, 7, int(np.ceil(7 * size))),)


def test_quantised_operators_are_counted(tmp_path: Path) -> None:
    kinds = ["MatMulInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "MatMul", "QuickGelu", "Relu"]
    nodes = [node(kind) for kind in kinds] + [node("QAttention", "com.microsoft"), node("MatMulNBits", "com.microsoft")]
    onnx.save(model_of(nodes, []), tmp_path / "m.onnx")
    assert read_graph(tmp_path / "m.onnx").quantised_ops == {
        "DynamicQuantizeLinear": 1,
        "MatMulInteger": 2,
        "MatMulNBits": 1,
        "QAttention": 1,
        "QLinearConv": 1,
    }


def save_with_external_data(folder: Path) -> Path:
    model = model_of([node("Relu")], [weight("a", np.ones((64, 64), np.float32))])
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    return folder / "m.onnx"


def test_external_data_is_counted_and_named(tmp_path: Path) -> None:
    facts = read_graph(save_with_external_data(tmp_path))
    assert facts.weights == (StoredWeights("float32", 4096, 16384),)
    assert facts.external_files == ("m.data",)


def test_external_data_that_is_missing_or_short_is_named(tmp_path: Path) -> None:
    path = save_with_external_data(tmp_path)
    (tmp_path / "m.data").write_bytes(b"short")
    with pytest.raises(ModelError, match=r"weights of m\.onnx need 16384 bytes"):
        read_graph(path)
    (tmp_path / "m.data").unlink()
    with pytest.raises(ModelError, match=r"weights of m\.onnx are missing.*m\.data"):
        read_graph(path)


def test_external_data_with_a_damaged_entry_is_refused(tmp_path: Path) -> None:
    path = save_with_external_data(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"16384", b"16x84"))
    with pytest.raises(ModelError, match="damaged external data"):
        read_graph(path)


def test_external_data_outside_the_folder_is_refused(tmp_path: Path) -> None:
    path = save_with_external_data(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"m.data", b"../etc"))
    with pytest.raises(ModelError, match=r"m\.onnx points outside its folder: \.\./etc"):
        read_graph(path)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x00" * 100, bytes(range(256)) * 40])
def test_what_is_no_onnx_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX model"):
        read_graph(tmp_path / "m.onnx")


def test_a_file_cut_anywhere_is_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(model_of([node("Relu")], [weight("a", np.ones((3, 4), np.float32))], {"key": "value"}), path)
    whole = path.read_bytes()
    refused = 0
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        try:
            read_graph(path)
        except ModelError:
            refused += 1
    assert refused > len(whole) / 7 / 2


def test_a_file_damaged_anywhere_is_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    weights = [weight("a", np.ones((3, 4), np.float32)), weight("b", np.ones(5, np.int8))]
    onnx.save(model_of([node("Relu"), node("MatMulInteger")], weights, {"key": "value"}), path)
    whole = bytearray(path.read_bytes())
    refused = 0
    for position in range(len(whole)):
        for value in (0x00, 0x7F, 0xFF):
            damaged = whole.copy()
            damaged[position] = value
            path.write_bytes(damaged)
            try:
                read_graph(path)
            except ModelError:
                refused += 1
    assert refused > len(whole)


@pytest.mark.parametrize("name", ["none.onnx", "folder.onnx"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ModelError, match=f"cannot read the model file.*{name}"):
        read_graph(tmp_path / name)


def test_a_text_file_by_another_suffix_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("{}")
    with pytest.raises(ModelError, match="not an ONNX model"):
        read_graph(tmp_path / "m.json")


def test_reading_graphs_is_not_paid_for_by_who_does_not(python: str) -> None:
    script = (
        "import auricle.models.onnx_graph, auricle.models.summary, auricle.models.download, sys; print(*sys.modules)"
    )
    loaded = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"onnx", "numpy", "google.protobuf", "huggingface_hub", "filelock", "platformdirs"} & set(loaded)


def test_a_folder_of_graphs_is_described(tmp_path: Path) -> None:
    onnx.save(model_of([node("Relu")], [weight("a", np.ones(3, np.float32))], {"k": "v"}), tmp_path / "encoder.onnx")
    (tmp_path / "decoder.onnx").write_bytes(b"damaged")
    (tmp_path / "tokens.txt").write_text("a 0\n")
    decoder, encoder, tokens = inspect(str(tmp_path))["files"]
    assert encoder["graph"]["weights"] == ({"dtype": "float32", "count": 3, "bytes": 12},)
    assert encoder["graph"]["metadata"] == {"k": "v"}
    assert "not an ONNX model" in decoder["problem"]
    assert tokens == {"path": "tokens.txt", "bytes": 4}
    [alone] = inspect(str(tmp_path / "encoder.onnx"))["files"]
    assert (alone["path"], alone["graph"]["opset"]) == ("encoder.onnx", 17)
