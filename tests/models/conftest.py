"""A local server and a store of its own for each test."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from auricle.models.transfer import Patience
from tests.models.file_server import FileServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def hasty() -> Patience:
    """Three attempts with hardly a pause."""
    return Patience(attempts=3, pause_s=0.01, silence_s=5.0)


@pytest.fixture
def once() -> Patience:
    """One attempt."""
    return Patience(attempts=1, pause_s=0.01, silence_s=5.0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, named by the environment as a user would, and no catalogue of the user's."""
    folder = tmp_path / "store"
    empty = tmp_path / "no-models.toml"
    empty.write_text("")
    monkeypatch.setenv("AURICLE_MODELS", str(folder))
    monkeypatch.setenv("AURICLE_CATALOGUE", str(empty))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return folder


@pytest.fixture
def python() -> str:
    return sys.executable
