"""ONNX Runtime's telemetry."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("onnxruntime")
PROGRAM = """
from auricle.tensors.telemetry import keep_telemetry_off
keep_telemetry_off()
import onnxruntime
"""


def test_onnx_runtime_writes_nothing_to_the_users_folder(tmp_path: Path) -> None:
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment)
    assert not list(tmp_path.rglob("*"))
