"""The way in: load an archive or a folder as a model, or say which package is missing."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from auricle.errors import ModelError, NotInstalledError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from auricle.fastconformer.archive import Archive
    from auricle.fastconformer.model import FastConformer
    from auricle.fastconformer.precision import Precision

_PACKAGES = {"torch": "torch", "sentencepiece": "sentencepiece", "yaml": "pyyaml"}


def load(
    path: Path,
    precision: Precision = "fp32",
    beam: int = 1,
    local_attention: int | None = None,
    device: torch.device | None = None,
) -> FastConformer:
    """Load the `.nemo` archive or the folder of transformers at `path`, for a `device` or, None, packed for the CPU.

    `local_attention` is how many frames each sees to its left and right, as NeMo's `change_attention_model` makes it.
    Raises NotInstalledError when torch, sentencepiece or pyyaml is missing, ModelError for a model that is damaged or
    whose weights do not fit its configuration, and UnsupportedError naming an option that is not understood.
    """
    check_installed()
    from auricle.fastconformer.model import FastConformer

    archive = read(path)
    if local_attention is not None:
        archive = replace(archive, config=archive.config.attending(local_attention))
    if device is not None:
        from auricle.fastconformer.device.whole import DeviceFastConformer

        return DeviceFastConformer(archive, device, precision, beam)
    return FastConformer(archive, precision, beam)


def read(path: Path) -> Archive:
    """Read what `load` loads: the configuration, the weights by NeMo's names and the tokenizer; raises as it does."""
    from auricle.fastconformer.archive import read_archive
    from auricle.fastconformer.huggingface.folder import read_folder

    return read_folder(path) if path.is_dir() else read_archive(path)


def check_installed() -> None:
    """Raise NotInstalledError naming the packages that are missing."""
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise NotInstalledError(
            "FastConformer models need a package", ", ".join(missing), "pip install 'auricle[torch]'"
        )


def find_archive(path: Path) -> Path:
    """Return the model that `path` is, a file or a folder, or the archive that lies alone in it; raises ModelError."""
    from auricle.fastconformer.huggingface.folder import CONFIG_FILE, holds_model

    if not path.is_dir() or holds_model(path):
        return path
    found = sorted(path.glob("*.nemo"))
    if not found and (path / CONFIG_FILE).is_file():
        return path
    if len(found) != 1:
        what = "several `.nemo` archives" if found else "no `.nemo` archive"
        names = ", ".join(each.name for each in found)
        raise ModelError(
            f"{what} in the model folder",
            f"{path} {names}".strip(),
            "give the path of one `.nemo` file, or of a folder that transformers wrote",
        )
    return found[0]
