from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer


def test_the_sample_prints_its_table_and_what_is_assumed(auricle: Callable[..., Answer]) -> None:
    answer = auricle("plan", "--sample", "--markdown")
    assert answer.status == 0
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in answer.out.splitlines()]
    costs = {
        row[1]: row[6]
        for row in cells
        if len(row) == 8 and row[7] in {"estimate", "measured"} and row[0].startswith("sample-")
    }
    assert costs == {"L4": "0.012", "L40S": "0.011", "A100-40": "0.022", "H100": "0.010"}
    assert "sample-l4: 50 streams is an estimate" in answer.err


def test_an_unknown_gpu_or_price_and_no_capacity_are_one_line(auricle: Callable[..., Answer], tmp_path: Path) -> None:
    odd = tmp_path / "odd.toml"
    odd.write_text("[[price]]\nid = 'mine'\nprovider = 'me'\nsource = 'a bill'\ngpu = 'L44'\nusd_per_hour = 1.0\n")
    for arguments, told in (
        (("--capacity", "modal-l4=0"), "holds no stream"),
        (("--capacity", "nobody=4"), "no such price: nobody"),
        (("--prices", odd, "--capacity", "mine=4"), "unknown GPU of the price mine: L44"),
        (("--capacity", "modal-l4"), "not a price and a number"),
        ((), "no capacity to plan with"),
    ):
        answer = auricle("plan", *arguments)
        assert answer.status == 2
        assert told in answer.err
        assert answer.err.count("\n") == 1


def test_json_holds_every_row_and_null_for_what_is_not_known(auricle: Callable[..., Answer]) -> None:
    answer = auricle("plan", "--capacity", "runpod-b200=700", "--json")
    row = json.loads(answer.out)["rows"][0]
    assert row["streams"] == 700
    assert row["vram_share"] is None
    assert row["price"]["date"] == "2026-10-07"


def test_the_known_prices_are_listed_with_their_sources(auricle: Callable[..., Answer]) -> None:
    answer = auricle("plan", "--list", "--markdown")
    assert "| runpod-h200 | RunPod | H200 | 4.59 | 141 | https://www.runpod.io/pricing" in answer.out
