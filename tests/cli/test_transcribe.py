"""`auricle transcribe` recognises what it is given, in every format, and says which recordings failed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.audio import Audio, save
from auricle.corpus import open_corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Answer

    Auricle = Callable[..., Answer]


@pytest.fixture(scope="module")
def speech() -> Path:
    (utterance,) = open_corpus("demo").select(ids=["demo-short"]).utterances
    return utterance.audio


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 40_000).astype(np.float32)
    path = tmp_path / "noise.wav"
    save(Audio(samples, 16_000), path)
    return path


def test_the_embedded_engine_hears_the_demo_sentence(auricle: Auricle, speech: Path) -> None:
    answer = auricle("transcribe", speech)
    assert answer.status == 0
    assert "cups of tea and the morning newspaper" in answer.out


def test_words_are_timed_where_they_are_spoken(auricle: Auricle, speech: Path) -> None:
    (transcript,) = auricle("transcribe", speech, "--json").rows
    reference = {word.text.lower(): word for word in open_corpus("demo").select(ids=["demo-short"]).utterances[0].words}
    (cups,) = [word for word in transcript["segments"][0]["words"] if word["text"] == "cups"]
    assert cups["start"] == pytest.approx(reference["cups"].start, abs=0.15)
    assert cups["end"] == pytest.approx(reference["cups"].end, abs=0.15)


@pytest.mark.parametrize("form", ["txt", "json", "verbose_json", "srt", "vtt", "tsv"])
def test_every_format_goes_to_a_file_and_to_stdout_alike(
    auricle: Auricle, noise: Path, tmp_path: Path, form: str
) -> None:
    shown = auricle("transcribe", noise, "--engine", "null", "--no-vad", "-f", form)
    written = auricle("transcribe", noise, "--engine", "null", "--no-vad", "-f", form, "-o", tmp_path / f"out.{form}")
    assert (tmp_path / f"out.{form}").read_text() == shown.out
    assert shown.out
    assert not written.out


def test_several_formats_go_to_a_folder(auricle: Auricle, noise: Path, tmp_path: Path) -> None:
    auricle("transcribe", noise, "--engine", "null", "-f", "srt", "-f", "json", "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["noise.json", "noise.srt"]


def test_those_that_fail_are_named_and_the_others_done(auricle: Auricle, noise: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF....WAVEfmt ")
    answer = auricle("transcribe", broken, noise, tmp_path / "absent.wav", "--engine", "null", "-o", tmp_path / "out")
    assert answer.status == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["noise.txt"]
    errors = answer.err.splitlines()
    assert len(errors) == 3
    assert "broken.wav" in errors[0]
    assert "absent.wav" in errors[1]
    assert errors[2] == "2 of 3 failed"


def test_failures_are_told_in_json_too(auricle: Auricle, noise: Path, tmp_path: Path) -> None:
    rows = auricle("transcribe", tmp_path / "absent.wav", noise, "--engine", "null", "--json").rows
    assert [set(row) >= {"file"} for row in rows] == [True, True]
    assert "no such audio file" in rows[0]["error"]
    assert rows[1]["duration_s"] == pytest.approx(2.5)


def test_times_are_shown_in_text_when_asked_for(auricle: Auricle, noise: Path) -> None:
    lines = auricle("transcribe", noise, "--engine", "null", "--no-vad", "--timestamps", "word").out.splitlines()
    assert len(lines) == 5
    assert lines[1].startswith("[00:00:00.500 --> 00:00:01.000] 1:")


def test_standard_input_is_read(noise: Path) -> None:
    command = [sys.executable, "-m", "auricle", "transcribe", "-", "--engine", "null", "--no-vad", "--json"]
    with noise.open("rb") as file:
        answer = subprocess.run(command, stdin=file, capture_output=True, text=True, check=True)
    row = json.loads(answer.stdout)
    assert row["file"] == "-"
    assert row["duration_s"] == pytest.approx(2.5)


def test_raw_pcm_is_read_when_it_is_described(auricle: Auricle, tmp_path: Path) -> None:
    path = tmp_path / "stereo.raw"
    path.write_bytes(np.zeros(8000 * 2, "<i2").tobytes())
    (row,) = auricle("transcribe", path, "--engine", "null", "--pcm", "s16le:8000:2", "--json").rows
    assert row["duration_s"] == pytest.approx(1.0)


def test_a_missing_channel_is_refused(auricle: Auricle, noise: Path) -> None:
    answer = auricle("transcribe", noise, "--engine", "null", "--channel", 1)
    assert answer.status == 1
    assert "noise.wav" in answer.err


def test_an_option_the_engine_lacks_is_refused_for_speech(auricle: Auricle, speech: Path) -> None:
    answer = auricle("transcribe", speech, "--language", "hi")
    assert answer.status == 1
    assert "does not know this language: hi (hint: it knows en)" in answer.err


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_is_fetched(auricle: Auricle, noise: Path, server: str) -> None:
    (row,) = auricle("transcribe", f"{server}/{noise.name}", "--engine", "null", "--json").rows
    assert row["duration_s"] == pytest.approx(2.5)


def test_a_url_that_is_not_there_fails_alone(auricle: Auricle, noise: Path, server: str) -> None:
    answer = auricle("transcribe", f"{server}/absent.wav", noise, "--engine", "null", "--json")
    assert answer.status == 1
    assert "404" in answer.rows[0]["error"]
    assert answer.rows[1]["file"] == str(noise)
