"""`auricle bench profile` on real engines: records, tables, pictures, errors."""

from __future__ import annotations

import csv
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from auricle.bench.profile.run import summarise
from auricle.bench.records import read_run
from tests.cli.conftest import caller

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

NEEDS_TORCH = pytest.mark.skipif(
    any(find_spec(package) is None for package in ("torch", "sentencepiece", "yaml")),
    reason="pip install 'auricle[torch]'",
)
PICTURES = {"components", "ttft", "rtf", "chunks"}
LARGEST_BYTES = 100_000


@pytest.fixture
def auricle(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    return caller(capsys)


@pytest.fixture
def profile(auricle: Callable[..., Answer], tmp_path: Path) -> Callable[..., Answer]:
    def call(*arguments: object) -> Answer:
        return auricle("bench", "profile", "--runs-folder", tmp_path / "runs", *arguments)

    return call


def test_an_engine_without_torch_gives_components_and_says_why_no_operators(profile: Callable[..., Answer]) -> None:
    answer = profile("--engine", "null", "--files", 3, "--runs", 2, "--chunk-ms", 160)
    assert answer.status == 0
    assert "Components: ms in one step" in answer.out
    assert "null runs no torch in this process" in answer.err
    assert "Operators" not in answer.out


def test_the_pictures_are_drawn_with_their_figures_beside_them(profile: Callable[..., Answer], tmp_path: Path) -> None:
    closing = json.loads(profile("--engine", "null", "--files", 3, "-o", tmp_path / "drawn").out.splitlines()[-1])
    assert {path.stem for path in (tmp_path / "drawn").glob("*.svg")} == PICTURES
    assert closing["pictures"] == [
        str(tmp_path / "drawn" / f"{name}.svg") for name in ("components", "ttft", "rtf", "chunks")
    ]
    for name in PICTURES:
        svg = (tmp_path / "drawn" / f"{name}.svg").read_text()
        assert len(svg) < LARGEST_BYTES
        assert "prefers-color-scheme: dark" in svg
        with (tmp_path / "drawn" / f"{name}.csv").open() as file:
            assert list(csv.DictReader(file))


def test_a_recorded_profile_is_shown_and_drawn_again_from_its_events(
    profile: Callable[..., Answer], auricle: Callable[..., Answer], tmp_path: Path
) -> None:
    (row,) = profile("--engine", "null", "--files", 2, "--json").rows
    shown = auricle(
        "runs", "show", row["id"], "--json", "--pictures", tmp_path / "again", "--runs-folder", tmp_path / "runs"
    )
    assert shown.rows[0]["summary"] == row["summary"]
    assert {path.stem for path in (tmp_path / "again").glob("*.svg")} == PICTURES
    (listed,) = auricle("runs", "list", "--kind", "profile", "--json", "--runs-folder", tmp_path / "runs").rows
    assert (listed["arms"], listed["status"]) == (["null"], "finished")
    tables = auricle("runs", "show", row["id"], "--markdown", "--per-file", "--runs-folder", tmp_path / "runs").out
    assert "| component | share |" in tables
    assert "**Files, medians of their passes**" in tables


def test_every_chunk_of_every_stream_is_fed_once_and_the_warm_up_is_named(
    profile: Callable[..., Answer], tmp_path: Path
) -> None:
    (row,) = profile("--engine", "null", "--files", 3, "--streams", 2, "--runs", 2, "--warmup", 1, "--json").rows
    events = list(read_run(tmp_path / "runs" / row["id"]).events())
    audio_s = {event["id"]: event["audio_s"] for event in events if event["event"] == "played"}
    for phase, passes in (("warmup", 1), ("run", 2)):
        steps = [event for event in events if event["event"] == "step" and event["phase"] == phase]
        for name, length_s in audio_s.items():
            fed = sum(one["fed_s"][one["ids"].index(name)] for one in steps if name in one["ids"])
            assert fed == pytest.approx(passes * length_s)
    assert {len(event["ids"]) for event in events if event["event"] == "step"} == {1, 2}
    assert row["summary"]["components"]["files"] == 3
    assert row["summary"]["components"]["texts_repeat"]


def test_files_are_profiled_where_that_is_asked_for(profile: Callable[..., Answer], tmp_path: Path) -> None:
    answer = profile("--engine", "null", "--files", 3, "--mode", "files", "-o", tmp_path / "drawn", "--json")
    found = answer.rows[0]["summary"]["components"]
    assert (found["live"], found["chunks"], found["rtf"]["padded"]) == (False, None, None)
    assert {path.stem for path in (tmp_path / "drawn").glob("*.svg")} == PICTURES - {"chunks"}


@NEEDS_TORCH
def test_the_components_and_operators_of_an_engine_of_torch_are_told(
    profile: Callable[..., Answer], tmp_path: Path
) -> None:
    arguments = ["--engine", "fastconformer", "--corpus", "demo-digits", "--files", 1, "--runs", 1, "--threads", 1]
    answer = profile(*arguments)
    assert answer.status == 0
    assert "bound by" in answer.out
    run = read_run(next((tmp_path / "runs").glob("*-profile")))
    summary = summarise(run)
    stages = {one["stage"]: one for one in summary["components"]["components"]}
    assert {"features", "encoder", "decode"} <= set(stages)
    assert sum(one["share"] for one in stages.values() if one["share"] is not None) == pytest.approx(1.0)
    found: dict[str, Any] = summary["operators"]
    assert {"features", "encoder", "decode"} <= {one["stage"] for one in found["stages"]}
    linear = {"aten::addmm", "aten::mm", "mkldnn::_linear_pointwise"}
    products = [row["self_flops"] for row in found["rows"] if row["stage"] == "encoder" and row["name"] in linear]
    assert sum(products) > found["flops"] / 2
    watched = {event["phase"] for event in run.events() if event["event"] == "step"}
    assert watched == {"warmup", "run", "operators"}


def test_operators_are_left_alone_where_that_is_asked_for(profile: Callable[..., Answer]) -> None:
    answer = profile("--engine", "null", "--files", 1, "--no-operators", "--json")
    assert answer.rows[0]["summary"]["operators"] is None
    assert "torch" not in answer.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "nothing"], "unknown engine: nothing"),
        (["--engine", "null", "--mode", "files", "--streams", 2], "files are played one at a time"),
        (["--engine", "null", "--mode", "files", "--chunk-ms", 100], "files are not cut into chunks"),
        (["--engine", "null", "--chunk-ms", 77], "no chunk of this many ms: 77"),
        (["--engine", "null::cuda", "--device", "cuda"], "the device is named twice"),
        (["--engine", "null:::fp32", "--precision", "fp32"], "the precision is named twice"),
        (["--engine", "null", "--device", "cuda"], "runs on the CPU alone"),
    ],
)
def test_what_cannot_be_profiled_is_refused_in_one_line(
    profile: Callable[..., Answer], arguments: list[object], message: str
) -> None:
    answer = profile(*arguments)
    assert answer.status in {1, 2}
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert "hint:" in answer.err


def test_pictures_of_another_kind_of_run_are_refused(auricle: Callable[..., Answer], tmp_path: Path) -> None:
    auricle("bench", "offline", "--engine", "null", "--limit", 1, "--runs", 1, "--json", "--runs-folder", tmp_path)
    (row,) = auricle("runs", "list", "--json", "--runs-folder", tmp_path).rows
    answer = auricle("runs", "show", row["id"], "--pictures", tmp_path / "p", "--runs-folder", tmp_path)
    assert answer.status == 2
    assert "this run is offline" in answer.err
