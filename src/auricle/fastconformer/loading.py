"""The way in: load an archive as a model, or say which package is missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from auricle.errors import NotInstalledError

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.fastconformer.model import FastConformer

_PACKAGES = {"torch": "torch", "sentencepiece": "sentencepiece", "yaml": "pyyaml"}


def load(path: Path) -> FastConformer:
    """Load the `.nemo` archive at `path` in single precision on the CPU.

    Raises NotInstalledError when torch, sentencepiece or pyyaml is missing, ModelError for an archive that is damaged
    or whose weights do not fit its configuration, and UnsupportedError naming an option that is not understood.
    """
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise NotInstalledError(
            "FastConformer models need a package", ", ".join(missing), "pip install 'auricle[torch]'"
        )
    from auricle.fastconformer.archive import read_archive
    from auricle.fastconformer.model import FastConformer

    return FastConformer(read_archive(path))
