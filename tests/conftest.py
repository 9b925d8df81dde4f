"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of evaluation data, which is not part of the repository."""
    folder = Path(os.environ.get("AURICLE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"evaluation data not found at {folder}; set AURICLE_TEST_DATA to its folder")
    return folder
