"""What a model folder lacks is named before the library sees it, and what was chosen is told."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from auricle.engines.contract import LoadOptions
from auricle.engines.sherpa import ENGINE
from auricle.engines.sherpa.model import open_model
from auricle.engines.sherpa.tokens import read_tokens
from auricle.errors import ModelError, UnsupportedError
from auricle.trace import Tracer
from tests.engines import sherpa_graphs as graphs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.engines.contract import ModelInfo, Precision

pytestmark = pytest.mark.skipif(find_spec("sherpa_onnx") is None, reason='needs pip install "auricle[sherpa]"')


def load(model: Path, device: str = "cpu", precision: Precision | None = None) -> ModelInfo:
    """Load a model, unload it, and return what was said of it."""
    recognizer = ENGINE.load(LoadOptions(model=model, device=device, precision=precision, threads=1), Tracer())
    recognizer.unload()
    return recognizer.info


def without(metadata: dict[str, str], key: str) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if name != key}


def two_precisions(folder: Path) -> Path:
    graphs.nemo_ctc(folder, "model.onnx")
    return graphs.nemo_ctc(folder, "model.int8.onnx", "int8")


@pytest.mark.parametrize("key", ["model_type", "vocab_size", "subsampling_factor"])
def test_a_missing_key_of_a_ctc_model_is_named(key: str, tmp_path: Path) -> None:
    graphs.nemo_ctc(tmp_path, props=without(graphs.NEMO_CTC, key))
    with pytest.raises(ModelError, match=rf"{key}.*model\.onnx|model\.onnx.*{key}"):
        load(tmp_path)


@pytest.mark.parametrize("key", ["pred_rnn_layers", "pred_hidden", "vocab_size"])
def test_a_missing_key_of_a_transducer_is_named(key: str, tmp_path: Path) -> None:
    graphs.nemo_transducer(tmp_path, without(graphs.NEMO_TRANSDUCER, key))
    with pytest.raises(ModelError, match=rf"metadata of encoder\.onnx lacks: {key}"):
        load(tmp_path)


@pytest.mark.parametrize("build", [graphs.nemo_live_transducer, graphs.zipformer_live_ctc, graphs.whisper])
def test_all_missing_keys_of_a_graph_are_named_at_once(build: Callable[[Path], Path], tmp_path: Path) -> None:
    import onnx

    folder = build(tmp_path)
    main = next(path for path in sorted(folder.glob("*.onnx")) if "coder" not in path.name or "encoder" in path.name)
    model = onnx.load(str(main))
    keys = [entry.key for entry in model.metadata_props if entry.key not in {"model_type", "url", "normalize_type"}]
    kept = [entry for entry in model.metadata_props if entry.key not in keys]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, str(main))
    with pytest.raises(ModelError, match=rf"metadata of {main.name} lacks") as caught:
        load(folder)
    named = str(caught.value.value).split(", ")
    assert len(named) > 5
    assert set(named) <= set(keys)


@pytest.mark.parametrize(("key", "value"), [("vocab_size", "many"), ("subsampling_factor", "0"), ("vocab_size", "-4")])
def test_a_metadata_value_that_is_no_count_is_named(key: str, value: str, tmp_path: Path) -> None:
    graphs.nemo_ctc(tmp_path, props=graphs.NEMO_CTC | {key: value})
    with pytest.raises(ModelError, match=rf"metadata key {key} of model\.onnx .*: {value}"):
        load(tmp_path)


def test_a_kind_that_the_engine_does_not_run_is_named(tmp_path: Path) -> None:
    graphs.nemo_ctc(tmp_path, props=graphs.NEMO_CTC | {"model_type": "EncDecMultiTaskModel"})
    with pytest.raises(ModelError, match=r"model_type EncDecMultiTaskModel, offline, graphs model\.onnx"):
        load(tmp_path)


def test_a_streaming_graph_without_streaming_metadata_is_not_taken_for_an_offline_one(tmp_path: Path) -> None:
    graphs.nemo_live_ctc(tmp_path)
    bare = tmp_path / "bare"
    graphs.nemo_live_ctc(bare)
    import onnx

    model = onnx.load(str(bare / "model.onnx"))
    onnx.helper.set_model_props(model, graphs.NEMO_CTC)
    onnx.save(model, str(bare / "model.onnx"))
    with pytest.raises(ModelError, match="lacks: window_size, chunk_shift"):
        load(bare)


def test_a_transducer_without_its_joiner_says_what_is_there(tmp_path: Path) -> None:
    graphs.nemo_transducer(tmp_path)
    (tmp_path / "joiner.onnx").unlink()
    with pytest.raises(ModelError, match=r"graphs decoder\.onnx \+ encoder\.onnx"):
        load(tmp_path)


def test_a_graph_with_too_few_outputs_is_refused(tmp_path: Path) -> None:
    graphs.nemo_transducer(tmp_path)
    graphs.save(tmp_path / "decoder.onnx", "d (int32[N,U] targets) => (int32[N,U] out) { out = Identity(targets) }")
    with pytest.raises(ModelError, match=r"decoder\.onnx must have 4 inputs: 1"):
        load(tmp_path)


def test_a_tdt_model_that_the_library_would_not_recognise_is_refused(tmp_path: Path) -> None:
    graphs.nemo_transducer(tmp_path, durations="0,1")
    with pytest.raises(ModelError, match=r"joiner\.onnx has 7 outputs for 5 tokens.*url"):
        load(tmp_path)


def test_a_model_that_only_claims_to_be_tdt_is_refused(tmp_path: Path) -> None:
    graphs.nemo_transducer(tmp_path, graphs.NEMO_TRANSDUCER | {"url": "parakeet-tdt"})
    with pytest.raises(ModelError, match="the joiner has no durations"):
        load(tmp_path)


def test_a_streaming_model_that_needs_normalised_features_is_refused(tmp_path: Path) -> None:
    graphs.nemo_live_transducer(tmp_path)
    import onnx

    model = onnx.load(str(tmp_path / "encoder.onnx"))
    metadata = graphs.NEMO_TRANSDUCER | graphs.NEMO_LIVE | {"normalize_type": "per_feature"}
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, str(tmp_path / "encoder.onnx"))
    with pytest.raises(UnsupportedError, match="normalize_type per_feature"):
        load(tmp_path)


def test_a_graph_that_onnx_runtime_refuses_is_a_model_error(tmp_path: Path) -> None:
    graphs.nemo_ctc(tmp_path)
    graph = """ctc (float[N,80,T] audio_signal, int64[N] length) => (float[N,80,T] logprobs)
        { logprobs = NoSuchOperator(audio_signal) }"""
    graphs.save(tmp_path / "model.onnx", graph, graphs.NEMO_CTC)
    with pytest.raises(ModelError, match=r"cannot load this model.*NoSuchOperator"):
        load(tmp_path)


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    graphs.nemo_ctc(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"\x00\xff not an ONNX file")
    with pytest.raises(ModelError, match=r"model\.onnx"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_graphs_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=name):
        load(tmp_path / name)


def test_no_model_is_refused() -> None:
    with pytest.raises(ModelError, match="carries no model"):
        ENGINE.load(LoadOptions(), Tracer())


def test_two_models_in_a_folder_are_told_apart_by_naming_a_file(tmp_path: Path) -> None:
    graphs.zipformer_transducer(tmp_path, "-epoch-9-avg-1")
    graphs.zipformer_transducer(tmp_path, "-epoch-30-avg-9")
    with pytest.raises(ModelError, match=r"several models.*epoch-30-avg-9 .*epoch-9-avg-1"):
        load(tmp_path)
    info = load(tmp_path / "joiner-epoch-30-avg-9.onnx")
    assert set(info.files[:3]) == {f"{role}-epoch-30-avg-9.onnx" for role in ("encoder", "decoder", "joiner")}


def test_a_graph_named_by_its_file_is_that_file(tmp_path: Path) -> None:
    assert load(two_precisions(tmp_path) / "model.onnx").files[0] == "model.onnx"
    assert load(tmp_path / "model.int8.onnx").files[0] == "model.int8.onnx"
    with pytest.raises(UnsupportedError, match=r"no int8 weights: model\.onnx holds fp32"):
        load(tmp_path / "model.onnx", precision="int8")


def test_whisper_files_are_found_by_their_names(tmp_path: Path) -> None:
    graphs.whisper(tmp_path, "tiny.en-")
    graphs.whisper(tmp_path, "base-")
    assert set(load(tmp_path / "base-encoder.onnx").files) == {
        "base-encoder.onnx",
        "base-decoder.onnx",
        "base-tokens.txt",
    }


@pytest.mark.parametrize(("device", "chosen"), [("cpu", "model.int8.onnx"), ("cuda", "model.onnx")])
def test_the_device_decides_between_int8_and_float(device: str, chosen: str, tmp_path: Path) -> None:
    assert open_model(two_precisions(tmp_path), device, None).files == {"model": chosen}


def test_the_choice_and_the_real_precision_are_told(tmp_path: Path) -> None:
    info = load(two_precisions(tmp_path))
    assert info.files == ("model.int8.onnx", "tokens.txt")
    assert "model: model.int8.onnx was chosen, model.onnx is there too" in info.notes
    assert set(info.precision.split("+")) == {"int8", "fp32"}
    assert {group.dtype: group.count for group in info.weights}["int8"] == 20
    assert load(tmp_path, precision="fp32").precision == "fp32"


def test_int8_asked_for_means_the_encoder_where_the_rest_is_float(tmp_path: Path) -> None:
    graphs.nemo_transducer(tmp_path)
    shutil.copy(tmp_path / "encoder.onnx", tmp_path / "encoder.int8.onnx")
    with pytest.raises(UnsupportedError, match=r"no int8 weights: .*encoder\.int8\.onnx holds fp32"):
        load(tmp_path, precision="int8")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_that_no_file_has_is_refused(precision: Precision, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"no model\.{precision}\.onnx.*there is model\.onnx"):
        load(graphs.nemo_ctc(tmp_path), precision=precision)


def test_a_file_whose_name_lies_about_its_precision_is_refused(tmp_path: Path) -> None:
    graphs.nemo_ctc(tmp_path, "model.fp16.onnx", "fp32")
    with pytest.raises(UnsupportedError, match=r"no fp16 weights: model\.fp16\.onnx holds fp32"):
        load(tmp_path, precision="fp16")


def test_fp16_weights_run_on_the_cpu(tmp_path: Path) -> None:
    graphs.nemo_ctc(tmp_path, "model.fp16.onnx", "fp16")
    assert "fp16" in load(tmp_path, precision="fp16").precision


def test_quantised_operators_are_refused_on_cuda_by_name(tmp_path: Path) -> None:
    graphs.nemo_ctc(tmp_path, "model.int8.onnx", "int8")
    with pytest.raises(UnsupportedError, match=r"model\.int8\.onnx cannot run on cuda.*1 x MatMulInteger"):
        load(tmp_path, device="cuda")


def test_cuda_is_refused_where_the_installed_build_has_no_provider_for_it(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no cuda provider: sherpa-onnx"):
        load(graphs.nemo_ctc(tmp_path), device="cuda")


def test_tensorrt_is_refused_for_an_offline_model(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="streaming models alone with TensorRT"):
        load(graphs.nemo_ctc(tmp_path), device="trt")


def test_a_second_gpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="cuda:1"):
        load(graphs.nemo_ctc(tmp_path), device="cuda:1")


def test_support_tells_the_cpu_from_a_gpu_that_this_build_cannot_use() -> None:
    usable = {(row.device, row.precision): row.usable for row in ENGINE.support()}
    assert usable[("cpu", "int8")]
    assert usable[("cpu", "fp32")]
    refused = [row for row in ENGINE.support() if not row.usable]
    assert {row.device for row in refused} == {"cuda"}
    assert all("no CUDA provider" in row.reason and row.remedy for row in refused)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "must be 0, 1, 2"),
        ("a 0\nb 2\n", "must be 0, 1, 2"),
        ("a 0\nb 0\n", "id 0 appears twice"),
        ("a 0\nb one\n", "line 2"),
        ("a b 0\n", "line 1"),
        ("a -1\n", "line 1"),
    ],
)
def test_a_malformed_token_table_is_refused(content: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text(content)
    with pytest.raises(ModelError, match=complaint):
        read_tokens(tmp_path / "tokens.txt")


def test_a_token_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_bytes("ü 0\n".encode("latin-1"))
    with pytest.raises(ModelError, match="cannot read the token table"):
        read_tokens(tmp_path / "tokens.txt")


def test_a_line_with_a_number_alone_is_the_space(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("a 1\r\n0\r\n")
    assert read_tokens(tmp_path / "tokens.txt").symbols == (" ", "a")


@pytest.mark.parametrize(
    ("tokens", "complaint"),
    [
        (graphs.NEMO_TOKENS[1:], "gives 5 tokens, the token table has 4"),
        ((*graphs.NEMO_TOKENS, "more"), "gives 5 tokens, the token table has 6"),
        (graphs.ICEFALL_TOKENS, "the last token must be <blk>"),
    ],
)
def test_a_token_table_of_another_model_is_refused(tokens: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    graphs.nemo_transducer(tmp_path)
    graphs.write_tokens(tmp_path / "tokens.txt", tokens)
    with pytest.raises(ModelError, match=complaint):
        load(tmp_path)


def test_a_missing_token_table_is_named(tmp_path: Path) -> None:
    graphs.nemo_ctc(tmp_path)
    (tmp_path / "tokens.txt").unlink()
    with pytest.raises(ModelError, match=r"no tokens\.txt"):
        load(tmp_path)
