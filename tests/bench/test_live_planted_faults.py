"""What a live benchmark must not be talked into: losing failures, believing a late client, a nought for nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING

import pytest

from tests.bench import planted_truth as truth
from tests.bench.planted_http import Uploads, uploading
from tests.bench.planted_runs import LIMIT_S, Planted, bench, command, read, sweep
from tests.bench.planted_server import Level, Plan, PlantedServer
from tests.bench.planted_speech import Shape, make_corpus
from tests.bench.test_live_recomputed import check

if TYPE_CHECKING:
    from pathlib import Path

SHORT = Shape(words=4, lead_s=0.2)
ONE_LEVEL = ("--concurrency", "2", "--seconds", "1", "--no-reference")
FEW_CHUNKS = ("--concurrency", "2", "--seconds", "1", "--no-reference")
MANY_CHUNKS = ("--concurrency", "4", "--seconds", "2", "--no-reference", "--chunk-ms", "10")
SLACK_MS = 120.0


def test_a_stream_that_fails_after_it_said_everything_right_counts_as_deleted(tmp_path: Path) -> None:
    late = Level(drop_each=2, drop_at_s=SHORT.duration_s + 1.2)
    measured = sweep(tmp_path, Plan({0: late}, endpoint_s=0.2), *ONE_LEVEL, "--tail", "1.5", shape=SHORT)
    level, pairs = measured.level(2), measured.truth(2)
    failed = [event for event, log in pairs if log.dropped]
    for event in failed:
        heard = [text for _, _, is_final, text, _ in event["messages"] if is_final]
        assert " ".join(heard).split() == measured.run.references(event["programme"])
    assert 0 < len(failed) == level["streams"]["failed"] < len(pairs)
    assert level["wer"]["deletions"] == SHORT.words * len(failed)
    assert level["wer"]["rate"] == pytest.approx(len(failed) / len(pairs))
    assert level["final"]["never"] == len(failed)
    check(measured.run)


def test_a_bound_on_slow_streams_makes_them_wrong_and_not_gone(tmp_path: Path) -> None:
    measured = sweep(tmp_path, Plan({0: Level(finalize_s=(1.5, 1.5))}), *ONE_LEVEL, "--finish-s", "0.3", shape=SHORT)
    level = measured.level(2)
    assert level["streams"]["failed"] == level["streams"]["tried"] > 0
    assert level["wer"]["rate"] == level["cer"]["rate"] == 1.0
    assert level["emission"]["coverage"] > 0.9
    assert measured.run.returncode != 0
    check(measured.run)


def test_a_reference_that_failed_is_nothing_to_be_better_than(tmp_path: Path) -> None:
    plan = Plan({0: Level(errors={1: "S"})}, drop_first=3)
    options = ["--concurrency", "2", "--seconds", "1"]
    measured = sweep(tmp_path, plan, *options, shape=SHORT, utterances=3)
    level = measured.level(2)
    assert measured.run.info["levels"][0]["streams"]["failed"] == 3
    assert level["wer"]["rate"] == pytest.approx(1 / SHORT.words)
    assert level["paired"] is None or level["paired"]["difference"] >= 0
    assert level["slo"]["criteria"]["wer"] != "pass"
    check(measured.run)


def test_a_server_that_refuses_all_was_not_measured(tmp_path: Path) -> None:
    measured = sweep(tmp_path, Plan({0: Level()}, most_live=0), *ONE_LEVEL, shape=SHORT)
    level = measured.level(2)
    assert level["streams"]["refused"] == level["streams"]["tried"] > 0
    assert level["wer"] is None
    assert level["rtfx"] is None
    assert measured.run.returncode != 0
    check(measured.run)


def test_a_server_that_is_not_there_was_not_measured(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path / "corpus", 2, SHORT)
    run = bench(tmp_path / "runs", "--server", "ws://127.0.0.1:1/v1/listen", "--corpus", str(manifest), *ONE_LEVEL)
    assert run.returncode != 0
    assert "reached" in run.output + json.dumps(run.info)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="processes cannot be stopped and continued here")
@pytest.mark.parametrize("load", [FEW_CHUNKS, MANY_CHUNKS], ids=["few chunks", "many chunks"])
def test_a_client_that_was_late_makes_the_run_void(tmp_path: Path, load: tuple[str, ...]) -> None:
    manifest = make_corpus(tmp_path / "corpus", 6, SHORT)
    over = threading.Event()

    def hinder(group: int) -> None:
        with suppress(ProcessLookupError):  # it may end just before `over` is set
            while not over.wait(0.3):
                os.killpg(group, signal.SIGSTOP)
                over.wait(0.3)
                os.killpg(group, signal.SIGCONT)

    with PlantedServer(Plan({0: Level()})) as server:
        options = ["--server", server.url(), "--corpus", str(manifest), *load]
        with subprocess.Popen(
            command(tmp_path / "runs", *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            hindering = threading.Thread(target=hinder, args=(process.pid,))
            hindering.start()
            try:
                output, _ = process.communicate(timeout=LIMIT_S)
            finally:
                over.set()
                hindering.join()
    run = read(tmp_path / "runs", process.returncode, output)
    level = run.info["levels"][0]
    late_ms = [1000 * (at_s - log.start_s - audio_s) for log in server.streams for audio_s, at_s in log.arrived]
    assert run.returncode != 0
    assert "void" in run.output.lower()
    assert run.info["certificate"]["void"]
    check(run)
    assert load == FEW_CHUNKS or level["client"]["late_p99_ms"] > 200
    assert max(late_ms) > 200
    assert level["client"]["late_max_ms"] == pytest.approx(max(late_ms), abs=SLACK_MS)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Ctrl-C cannot be sent to a process here")
def test_an_interrupted_level_keeps_the_events_of_its_streams(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path / "corpus", 2, Shape(words=30))
    with PlantedServer(Plan({0: Level()})) as server:
        options = ["--server", server.url(), "--corpus", str(manifest), *ONE_LEVEL]
        line = command(tmp_path / "runs", *options)
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            until_s = time.monotonic() + LIMIT_S
            while sum(len(log.arrived) > 10 for log in server.streams) < 2 and time.monotonic() < until_s:
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=LIMIT_S)
    run = read(tmp_path / "runs", process.returncode, output)
    assert (run.returncode, run.info["status"]) == (130, "interrupted")
    assert run.of("level") == []
    assert [event["outcome"] for event in run.of("stream")] == ["cancelled"] * 2
    assert all(len(event["sent_s"]) > 10 and event["messages"] for event in run.of("stream"))


def test_a_stall_is_counted_from_the_end_of_speech_for_every_utterance(joined: Planted) -> None:
    level = joined.level(7)
    planted = []
    for event, log in joined.truth(7):
        offsets = [offset_s for _, offset_s in joined.run.of("programme")[0]["pieces"]]
        finals = [said for said in log.said if said.is_final and said.text]
        assert len(finals) == len(offsets) == 2 or event["outcome"] != "complete"
        planted += [said.at_s - log.start_s - log.words[said.words[-1]].end_s for said in finals]
    assert level["final"]["n"] == len(planted)
    assert level["final"]["p50_ms"] == pytest.approx(truth.median_ms(planted), abs=SLACK_MS)
    assert level["final"]["max_ms"] == pytest.approx(1000 * max(planted), abs=SLACK_MS)
    assert max(planted) > 1.0


def test_what_a_dialect_does_not_tell_is_not_made_up(joined: Planted) -> None:
    level = joined.level(7)
    assert level["chunk"] is None
    assert level["late"] is None
    assert level["drift"] is None
    assert level["wer"]["rate"] == 0.0


def test_uploads_are_measured_from_the_end_of_speech(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path / "corpus", 6, SHORT)
    planted = Uploads(delay_s=0.5, substituted=frozenset({1}), most_at_once=7)
    with uploading(planted) as url:
        options = ["--server", url, "--corpus", str(manifest), "--model", "planted", "--no-reference"]
        run = bench(tmp_path / "runs", *options, "--concurrency", "9", "--seconds", "4")
    level = run.info["levels"][0]
    counted = level["streams"]
    took_ms = [1000 * (SHORT.tail_s + took_s) for _, took_s in planted.answered]
    assert counted["complete"] + counted["failed"] == counted["tried"] - counted["refused"] >= 7
    assert 0 < counted["refused"] <= planted.refused
    assert counted["failed"] == 0
    assert level["connect"]["n"] == 0
    assert level["wer"]["rate"] == 1 / SHORT.words
    assert level["final"]["p50_ms"] == pytest.approx(median(took_ms), abs=SLACK_MS)
    assert level["final"]["max_ms"] <= max(took_ms) + SLACK_MS
    check(run)
