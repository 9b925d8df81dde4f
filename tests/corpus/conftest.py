"""Small real recordings for tests of corpora."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from auricle.audio import SAMPLE_RATE, Audio, save


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Write a recording below the test's folder; the same seed and length give the same sound."""

    def write(name: str, seconds: float = 0.5, seed: int = 0) -> Path:
        path = tmp_path / name
        samples = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))
        save(Audio(samples.astype(np.float32), SAMPLE_RATE), path)
        return path

    return write


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    """Write a manifest of rows, or of lines as they are, into the test's folder."""

    def write(*rows: Mapping[str, object] | str, name: str = "manifest.jsonl") -> Path:
        path = tmp_path / name
        lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write
