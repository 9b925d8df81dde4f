from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).parents[2] / "tools" / "fuzz_audio.py"


@pytest.mark.skipif(os.name != "posix", reason="the fuzzer limits its child's memory as only Unix can")
def test_ten_seconds_of_damaged_headers_find_nothing(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, FUZZER, "--seconds", "10", "--seed", "7", "--folder", tmp_path],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    summary = json.loads(result.stdout)
    assert summary["findings"] == [], result.stderr
    assert result.returncode == 0
    assert summary["refused"] > 100
    assert summary["decoded"] > 100
