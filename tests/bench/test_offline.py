"""The file benchmark runs real engines in processes of their own and records all that it measures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from auricle.audio import Audio, save
from auricle.bench.arms import make_arms
from auricle.bench.index import RunIndex
from auricle.bench.offline import OfflineSettings, run_offline
from auricle.bench.summary import summarise
from auricle.corpus import Corpus, open_corpus
from auricle.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.bench.records import Run
    from tests.cli.conftest import Answer


def quiet(done_s: float, total_s: float, doing: str) -> None:
    assert done_s <= total_s + 1e-6
    assert doing


def run(corpus: Corpus, root: Path, *arms: str, **settings: Any) -> Run:
    chosen = {"runs": 2, "warmup": 1, **settings}
    return run_offline(corpus, OfflineSettings(tuple(make_arms(arms, [])), **chosen), root, quiet)


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return open_corpus("demo").select(limit=3)


def workers() -> set[int]:
    """The process numbers of the engines' workers that this process has."""
    return {child.pid for child in psutil.Process().children() if "auricle.engines.worker" in child.cmdline()}


@pytest.fixture(scope="module", autouse=True)
def workers_before() -> set[int]:
    return workers()


@pytest.fixture(scope="module")
def recorded(demo: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(demo, tmp_path_factory.mktemp("runs"), "null", "pocketsphinx")


def test_the_embedded_engine_is_measured_on_the_shipped_corpus(recorded: Run) -> None:
    arms = {arm["name"]: arm for arm in recorded.info["arms"]}
    assert arms["pocketsphinx"]["wer"]["rate"] < 0.3
    assert arms["pocketsphinx"]["texts_repeat"]
    assert arms["pocketsphinx"]["memory"]["peak_rss_bytes"] > 100_000_000
    assert arms["null"]["memory"]["peak_rss_bytes"] < arms["pocketsphinx"]["memory"]["peak_rss_bytes"]


def test_the_stages_account_for_the_time_in_the_engine(recorded: Run) -> None:
    stages = next(arm for arm in recorded.info["arms"] if arm["name"] == "pocketsphinx")["stages"]
    assert {row["stage"] for row in stages["rows"]} == {"decode-audio", "decode", "final-pass", "detokenise"}
    assert 0 <= stages["residual_share"] < 0.2


def test_the_record_holds_what_is_needed_to_compute_it_again(recorded: Run) -> None:
    assert {"environment", "settings", "corpus", "normaliser", "arms", "headline"} <= set(recorded.info)
    again = summarise(recorded.events(), recorded.info["settings"])
    assert json.loads(json.dumps(again["arms"])) == recorded.info["arms"]


def test_every_pass_is_recorded_and_the_arms_take_turns(recorded: Run) -> None:
    batches = [event for event in recorded.events() if event["event"] == "batch"]
    passes = list(dict.fromkeys((event["phase"], event["run"], event["arm"]) for event in batches))
    assert len(batches) == 3 * 3 * 2
    assert [key[:2] for key in passes] == [("warmup", 0)] * 2 + [("run", 0)] * 2 + [("run", 1)] * 2
    assert passes[0][2] == passes[3][2]


def test_batches_of_several_utterances_give_the_same_texts(recorded: Run, demo: Corpus, tmp_path: Path) -> None:
    batched = run(demo, tmp_path, "pocketsphinx", runs=1, warmup=0, batch_size=3)
    alone = next(arm for arm in recorded.info["arms"] if arm["name"] == "pocketsphinx")
    assert batched.info["arms"][0]["wer"] == alone["wer"]
    assert batched.info["arms"][0]["files"] is None


def test_no_process_is_left_behind(recorded: Run, workers_before: set[int]) -> None:
    assert recorded.info["status"] == "finished"
    assert workers() <= workers_before


def test_an_undecodable_file_counts_as_deleted_and_the_run_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    tone = np.sin(np.arange(16_000) / 8).astype(np.float32)
    save(Audio(tone, 16_000), folder / "good.wav")
    (folder / "bad.wav").write_bytes(b"RIFF")
    rows = [{"audio": f"{name}.wav", "text": "one", "language": "en", "duration_s": 1.0} for name in ("good", "bad")]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (arm,) = run(open_corpus(str(folder)), tmp_path / "runs", "null").info["arms"]
    assert arm["failures"] == 1
    assert "bad.wav" in arm["errors"][0]


def test_an_arm_that_cannot_be_loaded_fails_the_run_with_its_reason(demo: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no models"):
        run(demo, tmp_path, "null:.")
    (row,) = RunIndex(tmp_path, pytest.fail).list()
    assert row.status == "failed"


@pytest.mark.slow
def test_recordings_beyond_the_limit_of_an_engine_are_cut(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    save(Audio(np.zeros(16_000 * 61, np.float32), 16_000), folder / "long.flac")
    (folder / "long.txt").write_text("nothing")
    (arm,) = run(open_corpus(str(folder)), tmp_path / "runs", "pocketsphinx", runs=1, warmup=0).info["arms"]
    assert arm["failures"] == 0
    assert arm["audio_s"] == pytest.approx(61.0)


@pytest.fixture
def auricle(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    from tests.cli.conftest import caller

    return caller(capsys)


def test_the_command_prints_tables_and_closes_with_one_json_line(
    auricle: Callable[..., Answer], tmp_path: Path
) -> None:
    arguments = ["bench", "offline", "--engine", "null", "--limit", 2, "--runs", 6, "--warmup", 0, "--per-file"]
    answer = auricle(*arguments, "--runs-folder", tmp_path)
    assert answer.status == 0
    assert "Quality, 95 % intervals" in answer.out
    assert "Files of null" in answer.out
    closing = json.loads(answer.out.splitlines()[-1])
    shown = auricle("runs", "show", closing["run"], "--json", "--runs-folder", tmp_path)
    assert shown.rows[0]["summary"]["arms"][0]["runs"] == 6


def test_runs_are_listed_shown_and_exported(auricle: Callable[..., Answer], tmp_path: Path) -> None:
    auricle("bench", "offline", "--engine", "null", "--limit", 1, "--runs", 1, "--json", "--runs-folder", tmp_path)
    (row,) = auricle("runs", "list", "--json", "--runs-folder", tmp_path).rows
    assert (row["kind"], row["status"], row["arms"]) == ("offline", "finished", ["null"])
    shown = auricle("runs", "show", row["id"], "--markdown", "--runs-folder", tmp_path).out
    assert "| arm | WER % |" in shown
    exported = auricle("runs", "export", row["id"], "--format", "csv", "--runs-folder", tmp_path).out
    assert len(exported.splitlines()) > 1
    auricle("runs", "export", row["id"], "-o", tmp_path / "all.json", "--runs-folder", tmp_path)
    assert json.loads((tmp_path / "all.json").read_text())["events"]
