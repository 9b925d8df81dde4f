"""Fixtures for the Qwen3-ASR tests: tiny models with random weights, and transformers' own beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from auricle.qwen3.model import Qwen3Asr
from auricle.qwen3.stages import Meter
from auricle.trace import Tracer
from tests.qwen3.checkpoints import network, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEED = 2
"""Its rows end at different places, some not before they may say no more."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def theirs() -> Any:
    return network(SEED)


@pytest.fixture(scope="session")
def folder(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("qwen3"), theirs)


@pytest.fixture(scope="session")
def model(folder: Path) -> Qwen3Asr:
    return Qwen3Asr(folder)


@pytest.fixture
def meter() -> Meter:
    return Meter(Tracer(), torch.device("cpu"))
