"""Folders of transformers: their files in every layout, and everything that is refused, by name."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch

from auricle import cli
from auricle.errors import ModelError, UnsupportedError
from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.loading import find_archive, load, read
from auricle.fastconformer.tokens import Token, Tokenizer
from auricle.tensors.safetensors import read_safetensors
from tests.fastconformer.checkpoints import build
from tests.fastconformer.transformers_cases import ROOT, archive_of
from tools.to_huggingface import write_folder, write_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Folder = Callable[[str], Path]

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder of each class."""
    root = tmp_path_factory.mktemp("huggingface")
    for model in ("ctc", "rnnt", "tdt", "rnnt_stream"):
        write_folder(read_archive(archive_of(model, root, None)), root / model)
    return {model: root / model for model in ("ctc", "rnnt", "tdt", "rnnt_stream")}


@pytest.fixture
def folder(written: dict[str, Path], tmp_path: Path) -> Folder:
    """A copy of a folder, to be spoilt."""

    def copy(model: str) -> Path:
        shutil.copytree(written[model], tmp_path / model)
        return tmp_path / model

    return copy


def change(path: Path, keys: str, value: Any) -> None:
    """Set an option of a JSON file, "/" being a step into a table; None takes it out."""
    values = json.loads(path.read_text("utf-8"))
    table = values
    *steps, last = keys.split("/")
    for step in steps:
        table = table[step]
    table[last] = value
    if value is None:
        del table[last]
    path.write_text(json.dumps(values), "utf-8")


def split(folder: Path) -> dict[str, str]:
    """Put the weights of a folder into two files with an index."""
    tensors = read_safetensors(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    places = {key: names[number % 2] for number, key in enumerate(tensors)}
    for name in names:
        write_safetensors(folder / name, {key: value for key, value in tensors.items() if places[key] == name})
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index), "utf-8")
    return places


def test_weights_in_several_files_are_those_of_one(folder: Folder, written: dict[str, Path]) -> None:
    path = folder("tdt")
    split(path)
    found, wanted = read(path).weights, read(written["tdt"]).weights
    assert found.keys() == wanted.keys()
    assert all(torch.equal(value, wanted[key]) for key, value in found.items())


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "..", "", "a\\b", "C:x"])
def test_an_index_that_leads_out_of_the_folder_is_refused(name: str, folder: Folder) -> None:
    path = folder("ctc")
    key = next(iter(split(path)))
    values = json.loads((path / f"{WEIGHTS}.index.json").read_text("utf-8"))
    values["weight_map"][key] = name
    (path / f"{WEIGHTS}.index.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(ModelError, match="leads out of the folder"):
        load(path)


def test_an_index_that_names_another_file_for_a_weight_is_refused(folder: Folder) -> None:
    path = folder("ctc")
    places = split(path)
    key = next(iter(places))
    values = json.loads((path / f"{WEIGHTS}.index.json").read_text("utf-8"))
    values["weight_map"][key] = next(name for name in places.values() if name != places[key])
    (path / f"{WEIGHTS}.index.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(ModelError, match="does not tell what a file holds"):
        load(path)


def test_weights_in_half_precision_are_computed_with_in_single(folder: Folder) -> None:
    path = folder("rnnt")
    tensors = read_safetensors(path / WEIGHTS)
    halved = {key: value.to(torch.bfloat16) if value.is_floating_point() else value for key, value in tensors.items()}
    write_safetensors(path / WEIGHTS, halved)
    weight = load(path).network.encoder.get_parameter("pre_encode.conv.0.weight")
    assert weight.dtype == torch.float32
    assert torch.equal(weight, halved["encoder.subsampling.layers.0.weight"].float())


def test_the_feature_extractor_may_lie_in_the_file_that_transformers_4_wrote(folder: Folder) -> None:
    path = folder("ctc")
    values = json.loads((path / "processor_config.json").read_text("utf-8"))
    (path / "preprocessor_config.json").write_text(json.dumps(values["feature_extractor"]), "utf-8")
    wanted = read(path).config
    (path / "processor_config.json").unlink()
    assert read(path).config == wanted


def test_lookaheads_that_no_file_names_are_those_of_transformers(folder: Folder) -> None:
    path = folder("rnnt_stream")
    change(path / "processor_config.json", "supported_num_lookahead_tokens", None)
    change(path / "processor_config.json", "default_num_lookahead_tokens", None)
    change(path / "config.json", "encoder_config/default_num_lookahead_tokens", 6)
    assert [(one.left, one.right) for one in read(path).config.encoder.contexts] == [
        (56, 6), (56, 13), (56, 1), (56, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "file", "option", "value", "said"),
    [
        ("tdt", "config", "model_type", "parakeet_beam", "model_type = 'parakeet_beam'"),
        ("tdt", "config", "quantization_config", {"bits": 4}, "quantization_config"),
        ("tdt", "config", "durations", [0, 2], "durations = [0, 2]"),
        ("tdt", "config", "durations", "01", "durations = '01'"),
        ("tdt", "config", "durations", [], "durations = []"),
        ("tdt", "config", "decoder_start_token_id", 0, "decoder_start_token_id = 0"),
        ("tdt", "config", "blank_token_id", 3, "blank_token_id = 3"),
        ("tdt", "config", "hidden_act", "gelu", "hidden_act = 'gelu'"),
        ("rnnt", "config", "durations", [0, 1], "durations"),
        ("ctc", "config", "pad_token_id", 0, "pad_token_id = 0"),
        ("ctc", "config", "encoder_config/hidden_act", "gelu", "encoder_config.hidden_act = 'gelu'"),
        ("ctc", "config", "encoder_config/convolution_bias", False, "encoder_config.convolution_bias = False"),
        ("ctc", "config", "encoder_config/subsampling_factor", 4, "encoder_config.subsampling_factor = 4"),
        ("ctc", "config", "encoder_config/num_key_value_heads", 2, "encoder_config.num_key_value_heads = 2"),
        ("ctc", "config", "encoder_config/num_attention_heads", 5, "encoder_config.num_attention_heads = 5"),
        ("ctc", "config", "encoder_config/conv_kernel_size", 8, "encoder_config.conv_kernel_size = 8"),
        ("ctc", "config", "encoder_config/num_mel_bins", 128, "encoder_config.num_mel_bins = 128"),
        ("ctc", "config", "encoder_config/rope", 1, "encoder_config.rope"),
        ("ctc", "config", "encoder_config/sliding_window", 71, "encoder_config.sliding_window"),
        ("ctc", "processor_config", "feature_extractor/do_normalize", True, "feature_extractor.do_normalize"),
        ("ctc", "processor_config", "feature_extractor/feature_extractor_type", "Other", "feature_extractor_type"),
        ("rnnt_stream", "config", "encoder_config/sliding_window", 60, "encoder_config.sliding_window = 60"),
        ("rnnt_stream", "processor_config", "feature_extractor/mel_filters_dtype", "bfloat16", "mel_filters_dtype"),
    ],
)
def test_an_option_that_changes_the_result_is_refused_by_name(
    model: str, file: str, option: str, value: Any, said: str, folder: Folder
) -> None:
    path = folder(model)
    change(path / f"{file}.json", option, value)
    with pytest.raises(UnsupportedError) as error:
        load(path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("file", "option", "value", "said"),
    [
        ("config", "vocab_size", 1, "vocab_size = 1"),
        ("config", "encoder_config", 3, "encoder_config"),
        ("config", "encoder_config/hidden_size", None, "encoder_config.hidden_size"),
        ("config", "encoder_config/num_hidden_layers", 10**9, "num_hidden_layers"),
        ("processor_config", "feature_extractor/win_length", 513, "win_length = 513"),
        ("processor_config", "feature_extractor/preemphasis", -1, "preemphasis = -1"),
        ("tokenizer", "model/vocab", 3, "no vocabulary"),
        ("tokenizer", "model/vocab", {"a": 0}, "lacks a token: 1"),
        ("tokenizer", "model/vocab", {"a": -1}, "malformed"),
        ("tokenizer", "model/vocab", {"a": 0, "b": 0}, "malformed"),
        ("tokenizer", "model/vocab", {"\ud800": 39} | {f"p{index}": index for index in range(39)}, "malformed"),
        ("tokenizer", "model/unk_token", "absent", "the tokenizer of the archive is damaged"),
    ],
)
def test_a_malformed_file_is_an_error_of_the_model(
    file: str, option: str, value: Any, said: str, folder: Folder
) -> None:
    path = folder("rnnt")
    change(path / f"{file}.json", option, value)
    with pytest.raises(ModelError) as error:
        load(path)
    assert said in str(error.value)


@pytest.mark.parametrize("file", ["config.json", "processor_config.json", "tokenizer.json", WEIGHTS])
def test_a_missing_file_is_named(file: str, folder: Folder) -> None:
    path = folder("rnnt")
    (path / file).unlink()
    with pytest.raises(ModelError, match="cannot read"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b"\xff\xfe"])
def test_a_configuration_that_is_no_table_is_refused(content: bytes, folder: Folder) -> None:
    path = folder("rnnt")
    (path / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"no JSON|no table"):
        load(path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": {"type": "WordPiece", "vocab": {}}}, "kind of tokenizer"),
        ({"decoder": {"type": "ByteLevel"}}, "decoder: ByteLevel"),
        ({"decoder": None}, "kind of tokenizer"),
    ],
)
def test_another_kind_of_tokenizer_is_refused(values: dict[str, Any], said: str, folder: Folder) -> None:
    path = folder("rnnt")
    found = json.loads((path / "tokenizer.json").read_text("utf-8"))
    (path / "tokenizer.json").write_text(json.dumps(found | values), "utf-8")
    with pytest.raises(UnsupportedError, match=said):
        load(path)


def test_weights_that_do_not_fit_the_configuration_are_named(folder: Folder) -> None:
    path = folder("rnnt")
    tensors = read_safetensors(path / WEIGHTS)
    write_safetensors(path / WEIGHTS, tensors | {"encoder.extra.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"encoder\.extra\.weight"):
        load(path)
    write_safetensors(path / WEIGHTS, tensors | {"joint.joint_net.2.bias": torch.zeros(1)})
    with pytest.raises(ModelError, match="same name"):
        load(path)


def test_a_unigram_tokenizer_is_read_like_a_bpe_one(folder: Folder, written: dict[str, Path]) -> None:
    path = folder("rnnt")
    found = json.loads((path / "tokenizer.json").read_text("utf-8"))
    pieces = sorted(found["model"]["vocab"], key=found["model"]["vocab"].__getitem__)
    found["model"] = {"type": "Unigram", "unk_id": 0, "vocab": [[piece, -1.0] for piece in pieces]}
    (path / "tokenizer.json").write_text(json.dumps(found), "utf-8")
    size = len(pieces)
    ours, theirs = (Tokenizer(read(one).tokenizer, size) for one in (path, written["rnnt"]))
    tokens = [Token(index, index, 1, 1.0) for index in range(size)]
    assert [ours.text([token]) for token in tokens] == [theirs.text([token]) for token in tokens]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("rnnt", "transducer.joint_hidden = 28"),
        ("ctc_local", "encoder.contexts"),
        ("tdt_slow", "durations"),
        ("live_tdt", "encoder_config.sliding_window = 36"),
        ("hybrid_stream", "encoder.conv_left = 8"),
        ("prompted_hybrid", "encoder.conv_norm = batch_norm"),
    ],
)
def test_a_model_that_transformers_has_no_class_for_is_not_written(model: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as error:
        write_folder(read_archive(build(model, tmp_path)), tmp_path / "folder")
    assert said in str(error.value)
    assert not (tmp_path / "folder").exists()


def test_the_ctc_part_of_a_model_without_one_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no CTC head"):
        write_folder(read_archive(build("tdt", tmp_path)), tmp_path / "folder", ctc=True)


def test_a_folder_is_found_before_an_archive_in_it(folder: Folder) -> None:
    path = folder("rnnt")
    (path / "model.nemo").touch()
    assert find_archive(path) == path
    change(path / "config.json", "model_type", "something_else")
    assert find_archive(path) == path / "model.nemo"
    (path / "model.nemo").unlink()
    with pytest.raises(UnsupportedError, match="something_else"):
        load(find_archive(path))


def test_a_folder_is_transcribed_with_and_inspected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(read_archive(ROOT / "src/auricle/checkpoints/auricle-digits-en.nemo"), tmp_path / "digits")
    audio = ROOT / "src/auricle/corpus/demo/audio/demo-digits-01.opus"
    model = ["--engine", "fastconformer", "--model", str(tmp_path / "digits"), "--threads", "1"]
    assert cli.run(["transcribe", str(audio), *model]) == 0
    assert capsys.readouterr().out.strip() == "five eight zero one seven"
    assert cli.run(["models", "inspect", str(tmp_path / "digits")]) == 0
    assert "digits · FastConformer RNN-T · 1.53 M parameters" in capsys.readouterr().out
