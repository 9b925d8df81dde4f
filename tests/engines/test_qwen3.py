"""The qwen3-asr engine on a tiny model with random weights."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from auricle.audio import Audio
from auricle.engines import qwen3
from auricle.engines.contract import Feed, LoadOptions, StreamOptions, TranscribeOptions
from auricle.errors import EngineError, ModelError, UnsupportedError
from auricle.trace import Tracer
from tests.engines.contract_suite import PLAIN, EngineContract, LiveContract
from tests.qwen3.checkpoints import RATE_HZ, network, recording, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auricle.engines.contract import Engine
    from auricle.engines.qwen3_recognizer import Qwen3Recognizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tiny"), network(0))


@pytest.fixture
def loaded(folder: Path) -> Iterator[Qwen3Recognizer]:
    recognizer = qwen3.ENGINE.load(LoadOptions(folder, threads=1), Tracer())
    yield recognizer
    recognizer.unload()


class TestTiny(EngineContract, LiveContract):
    hears_silence = True  # Its weights are random.

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return qwen3.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, folder: Path) -> LoadOptions:
        return LoadOptions(model=folder, threads=1)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return [Audio(recording(samples), RATE_HZ) for samples in (30_000, 48_000, 20_000)]
