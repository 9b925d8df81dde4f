"""`auricle bench live` against servers of this repository, from the command line."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest

from auricle.bench.live.client_limit import known, measure
from auricle.bench.records import read_run
from tests.bench.planted_http import Uploads, uploading
from tests.cli.conftest import caller

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.bench.live.client_limit import Attempt
    from tests.cli.conftest import Answer

NULL = "--engine null --set calibrate=false"


@pytest.fixture
def auricle(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    return caller(capsys)


def closing(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.out.splitlines()[-1])
    return found


def test_a_sweep_is_recorded_shown_and_computed_again(auricle: Callable[..., Answer], tmp_path: Path) -> None:
    common = [
        "--limit",
        6,
        "--concurrency",
        "1,3",
        "--seconds",
        3,
        "--speed",
        4,
        "--runs-folder",
        tmp_path,
        "--seed",
        3,
    ]
    answer = auricle("bench", "live", "--spawn", NULL, "--key", "s3cret", "--header", "X-Token=t0ken", *common)
    assert "Unpaced, one stream at a time" in answer.out
    assert max(len(line) for line in answer.out.splitlines() if str(tmp_path) not in line) <= 80
    (row,) = auricle("runs", "list", "--json", "--kind", "live", "--runs-folder", tmp_path).rows
    recorded = read_run(tmp_path / row["id"])
    text = (recorded.path / "run.json").read_text()
    assert "s3cret" not in text
    assert "t0ken" not in text
    shown = closing(auricle("runs", "show", row["id"], "--json", "--runs-folder", tmp_path))
    assert shown["levels"] == recorded.info["levels"]
    reference, one, three = shown["levels"]
    assert (reference["phase"], reference["streams"]["complete"]) == ("reference", 6)
    assert (one["live"], three["live"]) == (1, 3)
    assert three["differing"]["different"] == 0
    assert three["server"]["cpu_cores"] > 0
    assert three["server"]["headroom"] > 1
    assert three["chunk"]["n"] > 100
    assert "Lookahead of the model: 0 ms" in answer.out
    exported = auricle("runs", "export", row["id"], "--format", "csv", "--runs-folder", tmp_path)
    streams = list(csv.DictReader(exported.out.splitlines()))
    counted = [one for one in streams if (one["phase"], one["live"], one["counted"]) == ("level", "3", "true")]
    assert len(counted) == three["streams"]["tried"]
    assert all(one["text"] and one["reference"] and int(one["packets"]) for one in counted)
    markdown = auricle("runs", "show", row["id"], "--markdown", "--runs-folder", tmp_path).out
    heads = [line for line in markdown.splitlines() if line.startswith("| live | ")]
    assert len(heads) == 4
    assert f"{'| ---: ' * heads[0].count(' | ')}| ---: |" in markdown


def test_joined_streams_arriving_at_random_in_another_dialect(auricle: Callable[..., Answer], tmp_path: Path) -> None:
    options = ["--stream-seconds", 8, "--arrivals", "poisson", "--dialect", "openai-realtime", "--no-reference"]
    common = ["--json", "--limit", 8, "--concurrency", "4", "--seconds", 4, "--speed", 4, "--runs-folder", tmp_path]
    (level,) = closing(auricle("bench", "live", "--spawn", NULL, *options, *common))["levels"]
    assert level["per_s"] is not None
    assert level["streams"]["complete"] > 2
    assert level["chunk"] is None  # deltas do not tell what they cover
    assert level["slo"]["criteria"]["late"] is None


def test_uploads_under_load(auricle: Callable[..., Answer], tmp_path: Path) -> None:
    common = ["--limit", 3, "--concurrency", "2", "--seconds", 2, "--speed", 8, "--runs-folder", tmp_path, "--json"]
    found = closing(auricle("bench", "live", "--spawn", NULL, "--dialect", "openai-http", *common))
    assert found["levels"][-1]["streams"]["failed"] == 0
    assert found["levels"][-1]["differing"]["different"] == 0


def test_a_saturated_client_voids_the_run(auricle: Callable[..., Answer], tmp_path: Path) -> None:
    options = [
        "--speed",
        500,
        "--no-reference",
        "--clients",
        1,
        "--chunk-ms",
        20,
        "--admission",
        "off",
        "--runs-folder",
        tmp_path,
    ]
    answer = auricle("bench", "live", "--spawn", NULL, "--limit", 4, "--concurrency", "40", "--seconds", 2, *options)
    assert answer.status == 1
    assert "Client: VOID" in answer.out


def test_a_server_that_is_not_there_ends_the_run_with_one_line(auricle: Callable[..., Answer], tmp_path: Path) -> None:
    common = ["--limit", 2, "--concurrency", "1", "--seconds", 1, "--no-reference", "--runs-folder", tmp_path]
    answer = auricle("bench", "live", "--server", "ws://127.0.0.1:9/v1/listen", *common)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("error: the server cannot be reached: ws://127.0.0.1:9/v1/listen")
    assert len(answer.err.splitlines()) == 1


def test_a_server_of_something_else_ends_the_run_with_one_line(auricle: Callable[..., Answer], tmp_path: Path) -> None:
    common = ["--limit", 2, "--concurrency", "1", "--seconds", 1, "--no-reference", "--runs-folder", tmp_path]
    with uploading(Uploads(delay_s=0.0)) as url:
        answer = auricle("bench", "live", "--server", url.replace("http", "ws", 1), *common)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("error: no stream could connect")
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--server", "ws://h/", "--spawn", "x"],
        ["--server", "ws://h/", "--admission", "off"],
        ["--server", "ws://h/", "--server-cpus", "1"],
        ["--spawn", "x", "--server-pid", "1"],
        ["--spawn", "x", "--concurrency", "1,x"],
        ["--spawn", "x", "--concurrency", "0"],
        ["--spawn", "x", "--server-cpus", "none"],
        ["--spawn", "x", "--server-cpus", "0"],
        ["--spawn", "x", "--speed", "0"],
        ["--spawn", "x", "--header", "none"],
        ["--spawn", "x", "--tell-language"],
        ["--spawn", "x", "--find-capacity", "4", "--no-reference"],
    ],
)
def test_what_makes_no_sense_is_refused(auricle: Callable[..., Answer], tmp_path: Path, arguments: list[str]) -> None:
    answer = auricle("bench", "live", *arguments, "--runs-folder", tmp_path)
    assert answer.status == 2
    assert len(answer.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dialect", ["deepgram", "sherpa", "openai-realtime"])
def test_the_limit_of_the_client_is_measured_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    monkeypatch.setenv("AURICLE_DATA", str(tmp_path))
    attempts: list[Attempt] = []
    assert known(dialect, 100) is None
    limit = measure(dialect, 100, 1.0, attempts.append, most=60)
    assert known(dialect, 100) == limit.streams
    assert [attempt.failed for attempt in attempts] == [0] * len(attempts)
    assert attempts[0].streams == 50
