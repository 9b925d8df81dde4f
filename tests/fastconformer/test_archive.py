"""Archives that cannot be read are refused by name, and nothing in them is executed."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml

from auricle.errors import AuricleError, ModelError, UnsupportedError
from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.loading import load
from tests.fastconformer.checkpoints import TOKENIZER, VOCABULARY, config, recording, weights, write

if TYPE_CHECKING:
    from pathlib import Path

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        files = ((member.name.removeprefix("./"), tar.extractfile(member)) for member in tar)
        return {name: file.read() for name, file in files if file is not None}


def repacked(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "changed.nemo"
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_a_gzipped_archive_gives_the_same_frames(tmp_path: Path) -> None:
    values = config("ctc")
    tensors = weights(values, seed=5)
    plain = load(write(tmp_path / "plain.nemo", values, tensors))
    zipped = load(write(tmp_path / "zipped.nemo", values, tensors, mode="w:gz"))
    audio = [recording(20_000)]
    assert torch.equal(plain.encode(audio)[0], zipped.encode(audio)[0])


def test_half_precision_weights_are_computed_in_single_precision(tmp_path: Path) -> None:
    values = config("ctc")
    halved = {key: value.half() if value.is_floating_point() else value for key, value in weights(values, 5).items()}
    model = load(write(tmp_path / "half.nemo", values, halved))
    assert model.encode([recording(20_000)])[0].dtype == torch.float32


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.9, 0.97])
def test_a_truncated_archive_is_refused(archive: Path, tmp_path: Path, kept: float) -> None:
    data = archive.read_bytes()
    cut = tmp_path / "cut.nemo"
    cut.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ModelError, match=r"truncated|damaged|holds no"):
        load(cut)


def test_a_truncated_gzipped_archive_is_refused(tmp_path: Path) -> None:
    values = config("ctc")
    whole = write(tmp_path / "whole.nemo", values, weights(values, 5), mode="w:gz")
    cut = tmp_path / "cut.nemo"
    cut.write_bytes(whole.read_bytes()[:-30_000])
    with pytest.raises(ModelError, match=r"truncated|damaged"):
        load(cut)


def test_a_gzipped_archive_that_grows_beyond_measure_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.nemo"
    path.write_bytes(gzip.compress(bytes(80 << 20)))
    with pytest.raises(ModelError, match="more than a model can"):
        load(path)


def test_an_archive_of_endless_members_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="more than a model can"):
        load(repacked(tmp_path, {f"member-{index}": b"" for index in range(1001)}))


def test_flipped_bytes_never_raise_anything_but_our_errors(archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    rng = np.random.default_rng(0)
    changed = tmp_path / "changed.nemo"
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 8):
            damaged[place] ^= 0xFF
        changed.write_bytes(damaged)
        try:
            load(changed)
        except AuricleError as error:
            assert str(error)  # noqa: PT017  # a flipped weight is no error


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.nemo"
    path.write_bytes(b"hello\n" * 1000)
    with pytest.raises(ModelError, match="damaged or truncated"):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such archive.*absent\.nemo"):
        load(tmp_path / "absent.nemo")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, TOKENIZER.name])
def test_a_missing_member_is_named(archive: Path, tmp_path: Path, name: str) -> None:
    files = members(archive)
    del files[name]
    with pytest.raises(ModelError, match=f"holds no '{name}'"):
        load(repacked(tmp_path, files))


def test_a_tokenizer_outside_the_archive_is_never_opened(archive: Path, tmp_path: Path) -> None:
    files = members(archive)
    values = yaml.safe_load(files[CONFIG])
    values["tokenizer"]["model_path"] = f"nemo:../../{TOKENIZER}"
    with pytest.raises(ModelError, match="holds no"):
        load(repacked(tmp_path, files | {CONFIG: yaml.safe_dump(values).encode()}))


def test_a_member_that_is_a_link_is_not_followed(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "link.nemo"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(CONFIG)
        info.type, info.linkname = tarfile.SYMTYPE, str(archive)
        tar.addfile(info)
    with pytest.raises(ModelError, match=f"holds no '{CONFIG}'"):
        load(path)


def test_a_member_that_is_there_twice_is_refused(archive: Path, tmp_path: Path) -> None:
    path = repacked(tmp_path, members(archive))
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo(f"./{CONFIG}"), io.BytesIO())
    with pytest.raises(ModelError, match=f"holds '{CONFIG}' twice"):
        load(path)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("executed",))


def test_pickled_code_is_refused_and_not_run(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = io.BytesIO()
    torch.save({"encoder": Bomb()}, saved)
    with pytest.raises(ModelError, match="more than tensors"):
        load(repacked(tmp_path, members(archive) | {WEIGHTS: saved.getvalue()}))
    assert capsys.readouterr().out == ""


def test_a_bare_pickle_in_place_of_weights_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="damaged or truncated"):
        load(repacked(tmp_path, members(archive) | {WEIGHTS: pickle.dumps({"a": Bomb()})}))


def test_compressed_weights_are_refused(archive: Path, tmp_path: Path) -> None:
    files = members(archive)
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files[WEIGHTS])) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    with pytest.raises(ModelError, match="damaged"):
        load(repacked(tmp_path, files | {WEIGHTS: packed.getvalue()}))


def test_a_tensor_that_claims_more_values_than_are_stored_is_refused(tmp_path: Path) -> None:
    values = config("rnnt")
    tensors = weights(values, 0) | {"joint.pred.bias": torch.zeros(1).expand(1 << 40)}
    with pytest.raises(ModelError, match="claims more values than it holds"):
        load(write(tmp_path / "wide.nemo", values, tensors))


@pytest.mark.parametrize(
    "text", [b"", b"- a\n", b"a: [1\n", b"\xff\xfe\x00", b"a: !!python/object:os.system x\n", b"[" * 5000]
)
def test_a_configuration_that_is_no_plain_table_is_refused(archive: Path, tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ModelError, match=CONFIG):
        load(repacked(tmp_path, members(archive) | {CONFIG: text}))


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    values = config("rnnt")
    tensors = weights(values, 0)
    del tensors["encoder.layers.1.norm_out.bias"]
    with pytest.raises(ModelError, match=r"lacks a weight: encoder\.layers\.1\.norm_out\.bias"):
        load(write(tmp_path / "a.nemo", values, tensors))


def test_an_unexpected_weight_is_named(tmp_path: Path) -> None:
    values = config("rnnt")
    tensors = weights(values, 0) | {"encoder.adapter.weight": torch.zeros(2)}
    with pytest.raises(ModelError, match=r"does not speak of: encoder\.adapter\.weight"):
        load(write(tmp_path / "a.nemo", values, tensors))


def test_a_weight_of_another_shape_or_kind_is_named(tmp_path: Path) -> None:
    values = config("rnnt")
    for wrong in (torch.zeros(3, 2), torch.zeros(28, dtype=torch.int64)):
        tensors = weights(values, 0) | {"joint.pred.bias": wrong}
        with pytest.raises(ModelError, match=r"joint\.pred\.bias"):
            load(write(tmp_path / "a.nemo", values, tensors))


def test_weights_that_are_no_table_of_tensors_are_refused(archive: Path, tmp_path: Path) -> None:
    for saved_value in ([torch.zeros(2)], {"a": 3}, {3: torch.zeros(2)}):
        saved = io.BytesIO()
        torch.save(saved_value, saved)
        with pytest.raises(ModelError, match="not a table of named tensors"):
            load(repacked(tmp_path, members(archive) | {WEIGHTS: saved.getvalue()}))


def test_a_tokenizer_that_is_damaged_or_of_another_size_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tokenizer of the archive is damaged"):
        load(repacked(tmp_path, members(archive) | {TOKENIZER.name: b"not a tokenizer"}))
    values = config("ctc")
    values["decoder"]["num_classes"] = VOCABULARY + 1
    with pytest.raises(ModelError, match=r"differ in size: 40 and 41"):
        load(write(tmp_path / "a.nemo", values, weights(values, 0)))


def test_another_class_of_model_is_named(tmp_path: Path) -> None:
    values = config("ctc")
    tensors = weights(values, 0)
    values["target"] = "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel"
    with pytest.raises(UnsupportedError, match="EncDecMultiTaskModel"):
        read_archive(write(tmp_path / "a.nemo", values, tensors))
