"""The accelerator suite for Qwen3-ASR, tried on the CPU with a tiny model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from bench.gpu_engines import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_the_suite_measures_every_precision_and_writes_what_it_found(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    asked = f"--size tiny --device cpu --out {out} --runs 1 --batches 2 --clips 0.1 0.6 --generate-steps 2"
    assert main(asked.split()) == 0
    found = json.loads(out.read_text("utf-8"))
    assert list(found["precisions"]) == ["fp32", "bf16", "fp16", "encoder=fp32,decoder=fp16"]
    full, halved = found["precisions"]["fp32"], found["precisions"]["encoder=fp32,decoder=fp16"]
    assert halved["memory"]["kv_bytes_per_position"] * 2 == full["memory"]["kv_bytes_per_position"]
    assert set(halved["memory"]["weight_bytes"]) == {"float32", "float16"}
    for measured in found["precisions"].values():
        assert [row["audio_s"] for row in measured["stages"]] == [0.1, 0.6]
        assert all(row["steps"].keys() == {"eager"} for row in measured["stages"])
        assert [row["rows"] for row in measured["batches"]] == [2]
    assert full["texts"]["equal_to_the_first"] == full["texts"]["texts"] == 2
    assert full["generate"]["step_ms"].keys() == {"2"}
