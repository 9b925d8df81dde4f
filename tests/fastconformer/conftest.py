"""Fixtures for the FastConformer tests; all of them need torch, sentencepiece and pyyaml."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from auricle.fastconformer.model import FastConformer

MISSING = [package for package in ("torch", "sentencepiece", "yaml") if find_spec(package) is None]


class SkippedModule(pytest.Module):
    """A module that is not imported, since what it imports is not here."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        pytest.skip(f"{', '.join(MISSING)} not installed; pip install 'auricle[torch]'", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Skip the modules of this folder, with the reason, where a package is missing."""
    if MISSING and module_path.parent == Path(__file__).parent:
        return SkippedModule.from_parent(parent, path=module_path)
    return None


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch from taking every core that other tests use."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], FastConformer]:
    """Load a model of `checkpoints` by name, once in a session."""
    from auricle.fastconformer.loading import load
    from tests.fastconformer.checkpoints import build

    models: dict[str, FastConformer] = {}
    folder = tmp_path_factory.mktemp("nemo")

    def model(name: str) -> FastConformer:
        if name not in models:
            models[name] = load(build(name, folder))
        return models[name]

    return model


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a sound archive."""
    from tests.fastconformer.checkpoints import build

    return build("rnnt", tmp_path_factory.mktemp("archive"))
