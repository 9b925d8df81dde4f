"""What is damaged, missing or does not fit is refused by name, and nothing that is pickled runs."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from auricle.emformer.files import find, read_statistics, read_weights
from auricle.emformer.loading import load
from auricle.errors import ModelError
from tests.emformer.checkpoints import build, weights

torch = pytest.importorskip("torch", reason="pip install 'auricle[torch]'")

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

WEIGHTS, STATISTICS = "emformer_rnnt_base_librispeech.pt", "global_stats_rnnt_librispeech.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build("sharp", tmp_path)


def test_a_model_is_known_by_its_sizes(folder: Path) -> None:
    model = load(find(folder))
    assert (model.config.width, model.config.layers, model.config.vocabulary, model.beam) == (64, 3, 40, 10)
    assert model.parameters == sum(value.numel() for value in weights("sharp").values())


def test_weights_of_safetensors_are_read_too(folder: Path) -> None:
    state = weights("sharp")
    header, data, place = {}, b"", 0
    for key, value in state.items():
        raw = value.numpy().tobytes()
        header[key] = {"dtype": "F32", "shape": [*value.shape], "data_offsets": [place, place + len(raw)]}
        data, place = data + raw, place + len(raw)
    text = json.dumps(header).encode()
    (folder / WEIGHTS).unlink()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    assert load(find(folder)).parameters == sum(value.numel() for value in state.values())


@pytest.mark.parametrize("name", [WEIGHTS, STATISTICS, "spm_bpe_4096_librispeech.model"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match="one file of"):
        find(folder)


def test_two_files_of_weights_are_refused(folder: Path) -> None:
    (folder / "other.pt").touch()
    with pytest.raises(ModelError, match=r"emformer_rnnt_base_librispeech\.pt, other\.pt"):
        find(folder)


@pytest.mark.parametrize("size", [0, 100, 50_000])
def test_truncated_weights_are_refused(folder: Path, size: int) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelError, match="damaged or truncated"):
        read_weights(path)


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harmed",)


def test_what_is_pickled_is_never_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    torch.save({"a": _Harmful()}, WEIGHTS)
    with pytest.raises(ModelError, match="never executed"):
        read_weights(folder / WEIGHTS)
    assert not (folder / "harmed").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictor.lstm_layers.1.g_norm.bias": None}, "lack a tensor.*lstm_layers.1.g_norm.bias"),
        ({"transcriber.more": torch.zeros(3)}, "has not.*transcriber.more"),
        ({"transcriber.output_linear.bias": torch.zeros(7)}, r"another shape.*output_linear.bias \(7,\), not \(48,\)"),
        ({"transcriber.input_linear.weight": None}, "not those of an Emformer.*input_linear"),
        ({"joiner.linear.weight": torch.zeros(9, 48)}, "do not fit each other"),
        ({"joiner.linear.bias": torch.full((41,), torch.nan)}, "not finite.*joiner.linear.bias"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    folder: Path, change: dict[str, Tensor | None], message: str
) -> None:
    state = weights("sharp") | change
    torch.save({key: value for key, value in state.items() if value is not None}, folder / WEIGHTS)
    with pytest.raises(ModelError, match=message):
        load(find(folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"mean": [1]}', "lack `mean` or `invstddev`"),
        ('{"mean": [1, 2], "invstddev": [1]}', "not two equal lists"),
        ('{"mean": ["a"], "invstddev": [1]}', "not two equal lists"),
        ('{"mean": [NaN], "invstddev": [1]}', "not two equal lists"),
        ('{"mean": [], "invstddev": []}', "not two equal lists"),
    ],
)
def test_damaged_statistics_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / STATISTICS
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        read_statistics(path)


def test_statistics_of_another_size_are_refused(folder: Path) -> None:
    (folder / STATISTICS).write_text('{"mean": [1], "invstddev": [1]}', encoding="utf-8")
    with pytest.raises(ModelError, match="1 and 80 mel bands"):
        load(find(folder))


def test_a_tokenizer_of_another_size_is_refused(folder: Path) -> None:
    fitted = find(build("fitted", folder)).tokenizer
    find(folder).tokenizer.write_bytes(fitted.read_bytes())
    with pytest.raises(ModelError, match="tokenizer and the weights differ"):
        load(find(folder))


def test_a_damaged_tokenizer_is_refused(folder: Path) -> None:
    find(folder).tokenizer.write_bytes(b"\xff" * 50)
    with pytest.raises(ModelError, match="SentencePiece model is damaged"):
        load(find(folder))
