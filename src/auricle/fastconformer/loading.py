"""The way in: load an archive as a model, or say which package is missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from auricle.errors import ModelError, NotInstalledError

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.fastconformer.model import FastConformer

_PACKAGES = {"torch": "torch", "sentencepiece": "sentencepiece", "yaml": "pyyaml"}


def load(path: Path) -> FastConformer:
    """Load the `.nemo` archive at `path` in single precision on the CPU.

    Raises NotInstalledError when torch, sentencepiece or pyyaml is missing, ModelError for an archive that is damaged
    or whose weights do not fit its configuration, and UnsupportedError naming an option that is not understood.
    """
    check_installed()
    from auricle.fastconformer.archive import read_archive
    from auricle.fastconformer.model import FastConformer

    return FastConformer(read_archive(path))


def check_installed() -> None:
    """Raise NotInstalledError naming the packages that are missing."""
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise NotInstalledError(
            "FastConformer models need a package", ", ".join(missing), "pip install 'auricle[torch]'"
        )


def find_archive(path: Path) -> Path:
    """Return the archive that `path` is, or that lies alone in the folder `path`; raises ModelError."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.nemo"))
    if len(found) != 1:
        what = "several `.nemo` archives" if found else "no `.nemo` archive"
        names = ", ".join(each.name for each in found)
        raise ModelError(f"{what} in the model folder", f"{path} {names}".strip(), "give the path of one `.nemo` file")
    return found[0]
