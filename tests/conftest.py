"""Fixtures for all tests."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.register_profile("searching", max_examples=2000)
if shutil.which("nvidia-smi") is None:
    # Triton asks when it is first imported, which others than our tests may do.
    os.environ.setdefault("TRITON_INTERPRET", "1")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of evaluation data, which is not part of the repository."""
    folder = Path(os.environ.get("AURICLE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"evaluation data not found at {folder}; set AURICLE_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="module", autouse=True)
def unloaded() -> Iterator[None]:
    """Every module of tests unloads what it loads, once: torch's number of threads is held until then."""
    yield
    loaded = sys.modules.get("auricle.engines.torch_threads")
    assert loaded is None or loaded.THREADS.holders == 0


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let child processes be interrupted, also where a shell runs the tests in the background, SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
