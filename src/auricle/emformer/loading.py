"""The way in: load a folder as a model, or say which package is missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from auricle.errors import NotInstalledError

if TYPE_CHECKING:
    from auricle.emformer.files import ModelFiles
    from auricle.emformer.model import Emformer

_PACKAGES = ("torch", "sentencepiece")


def load(files: ModelFiles, beam: int | None = None) -> Emformer:
    """Load a model, with a beam of so many hypotheses; raises NotInstalledError and what `Emformer` does."""
    check_installed()
    from auricle.emformer.model import Emformer
    from auricle.emformer.search import DEFAULT_BEAM

    return Emformer(files, DEFAULT_BEAM if beam is None else beam)


def check_installed() -> None:
    """Raise NotInstalledError naming the packages that are missing."""
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise NotInstalledError("Emformer models need a package", ", ".join(missing), "pip install 'auricle[torch]'")
