"""`auricle listen` shows what is said while it is said, from an engine here or from a server."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from auricle.corpus import open_corpus
from tests.client.servers import Planted, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Answer

    Auricle = Callable[..., Answer]

COMMAND = [sys.executable, "-m", "auricle", "listen"]


@pytest.fixture(scope="module")
def speech() -> Path:
    (utterance,) = open_corpus("demo").select(ids=["demo-short"]).utterances
    return utterance.audio


@contextmanager
def server(dialect: str, planted: Planted) -> Iterator[str]:
    """Serve from a thread of its own."""
    ready = threading.Event()
    urls: list[str] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        async with serving(dialect, planted) as url:
            urls.append(url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    ready.wait(5.0)
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def test_the_embedded_engine_captions_the_demo_sentence(auricle: Auricle, speech: Path) -> None:
    answer = auricle("listen", speech, "--speed", 20)
    assert answer.status == 0, answer.err
    assert "cups of tea and the morning newspaper" in answer.out
    assert "latency: median" in answer.err


@pytest.mark.parametrize("pace", [["--unpaced"], ["--speed", "20"]])
def test_every_sample_is_heard_once_and_in_order(auricle: Auricle, speech: Path, pace: list[str]) -> None:
    streamed = auricle("listen", speech, "--engine", "null", *pace).out
    whole = auricle("transcribe", speech, "--engine", "null", "--no-vad").out
    assert streamed == whole


def test_a_recording_is_played_in_real_time(auricle: Auricle, speech: Path) -> None:
    began_s = time.perf_counter()
    rows = auricle("listen", speech, "--engine", "null", "--json").rows
    assert 3.1 < time.perf_counter() - began_s < 5
    partials = [row for row in rows if row["event"] == "partial"]
    assert len(partials) > 4
    assert all(-1 <= row["at_s"] - row["audio_s"] < 0.5 for row in partials)
    assert all(0 <= row["latency_ms"] < 500 for row in partials)
    assert rows[-1]["event"] == "final"


def test_a_pipe_gets_finals_and_no_control_codes(speech: Path) -> None:
    answer = subprocess.run([*COMMAND, speech, "--unpaced"], capture_output=True, check=True)
    assert b"\x1b" not in answer.stdout
    assert b"\r" not in answer.stdout
    assert len(answer.stdout.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_shows_partials_dimmed_and_the_final_plain(speech: Path) -> None:
    pty = importlib.import_module("pty")
    terminal, inside = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        [*COMMAND, speech, "--speed", "4"], stdout=inside, stderr=subprocess.PIPE, env=environment
    ) as process:
        os.close(inside)
        shown = b""
        while True:
            try:
                shown += os.read(terminal, 4096)
            except OSError:
                break
        assert process.wait() == 0
    os.close(terminal)
    assert b"\x1b[2m" in shown
    assert b"\rplease bring two cups of tea and the morning newspaper\x1b[2m" in shown.replace(b"\x1b[2K", b"")


def test_standard_input_is_heard_as_it_comes() -> None:
    command = [*COMMAND, "-", "--engine", "null", "--pcm", "s16le:16000", "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(bytes(2 * 16_000))
        process.stdin.flush()
        first = json.loads(process.stdout.readline())
        process.stdin.write(bytes(2 * 8_000))
        process.stdin.close()
        rows = [json.loads(line) for line in process.stdout]
        assert process.wait() == 0
    assert first["event"] == "partial"
    assert rows[-1]["event"] == "final"
    assert rows[-1]["audio_s"] == 1.5


@pytest.mark.skipif(sys.platform == "win32", reason="Windows interrupts at once")
def test_an_interrupt_ends_it_with_what_was_heard() -> None:
    command = [*COMMAND, "-", "--engine", "null", "--pcm", "s16le:16000", "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(bytes(2 * 16_000))
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rows = [json.loads(line) for line in process.stdout]
        assert process.wait(10) == 0
        process.stdin.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert (rows[-1]["event"], rows[-1]["audio_s"]) == ("final", 1.0)


@pytest.mark.parametrize("dialect", ["deepgram", "sherpa", "openai-realtime"])
def test_a_server_is_sent_the_recording_and_its_finals_are_shown(auricle: Auricle, speech: Path, dialect: str) -> None:
    planted = Planted()
    with server(dialect, planted) as url:
        answer = auricle("listen", speech, "--url", url, "--dialect", dialect, "--speed", 20, "--key", "k")
    assert answer.status == 0, answer.err
    assert answer.out.split()[-1] in {"n32", "d4"}
    assert len(planted.received) == 32
    assert planted.requests[0].headers["Authorization"].endswith(" k")


def test_a_server_without_room_is_an_error_with_a_remedy(auricle: Auricle, speech: Path) -> None:
    with server("deepgram", Planted(refuse=503, body="full", headers={"Retry-After": "5"})) as url:
        answer = auricle("listen", speech, "--url", url, "--dialect", "deepgram")
    assert answer.status == 1
    assert answer.err == "error: the server has no room: HTTP 503 full (hint: try again in 5 s)\n"


def test_a_server_that_fails_in_the_middle_ends_it(auricle: Auricle, speech: Path) -> None:
    with server("deepgram", Planted(close_at=3)) as url:
        answer = auricle("listen", speech, "--url", url, "--dialect", "deepgram", "--speed", 2)
    assert answer.status == 1
    assert "code 1011 planted" in answer.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-", "--engine", "null"], "--pcm"),
        (["-", "--pcm", "s16le:16000", "--speed", "2"], "another speed"),
        (["--unpaced"], "another speed"),
        (["x.wav", "--speed", "0"], "above zero"),
        (["--pcm", "s16le:16000"], "microphone"),
        (["x.wav", "--dialect", "sherpa"], "--url"),
        (["x.wav", "--url", "ws://h/", "--engine", "null"], "--engine"),
        (["x.wav", "--url", "ws://h/", "--dialect", "telepathy"], "telepathy"),
        (["x.wav", "--url", "http://h/"], "live dialect"),
        (["x.wav", "--url", "ws://h/", "--model", "m"], "sherpa"),
    ],
)
def test_what_does_not_fit_together_is_refused(auricle: Auricle, arguments: list[str], told: str) -> None:
    answer = auricle("listen", *arguments)
    assert answer.status == 2
    assert told in answer.err


def test_a_missing_file_is_named(auricle: Auricle, tmp_path: Path) -> None:
    answer = auricle("listen", tmp_path / "absent.wav", "--engine", "null")
    assert answer.status == 1
    assert "absent.wav" in answer.err


def _microphones() -> int:
    try:
        devices = importlib.import_module("sounddevice").query_devices()
    except (ImportError, OSError):
        return 0
    return sum(device["max_input_channels"] > 0 for device in devices)


def test_a_microphone_that_is_not_there_is_an_error_with_a_remedy(auricle: Auricle) -> None:
    if _microphones():
        pytest.skip("there is a microphone")
    answer = auricle("listen", "--engine", "null")
    assert answer.status == 1
    assert "microphone" in answer.err
    assert "hint:" in answer.err
    assert len(answer.err.splitlines()) == 1
