"""The command answers quickly, says what is wrong in one line, and keeps data and talk apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import auricle as package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Auricle = Callable[..., Answer]

COMMANDS = [
    ["transcribe"],
    ["models", "list"],
    ["models", "inspect"],
    ["models", "pull"],
    ["doctor"],
    ["corpus", "list"],
    ["corpus", "show"],
    ["corpus", "check"],
    ["corpus", "synth"],
    ["corpus", "import"],
    ["bench", "offline"],
    ["serve"],
    ["listen"],
    ["runs", "list"],
    ["runs", "show"],
    ["runs", "export"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(auricle: Auricle, command: list[str]) -> None:
    answer = auricle(*command, "--help")
    assert answer.status == 0
    assert answer.out.startswith("Usage: ")
    assert not answer.err


@pytest.mark.parametrize("command", [[], ["models"], ["corpus"], ["bench"], ["runs"]], ids=" ".join)
def test_a_command_without_arguments_shows_its_help(auricle: Auricle, command: list[str]) -> None:
    answer = auricle(*command)
    assert answer.status == 2
    assert answer.out.startswith("Usage: ")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--nonsense"], 2, "--nonsense"),
        (["frobnicate"], 2, "frobnicate"),
        (["transcribe"], 2, "Missing argument"),
        (["transcribe", "a.wav", "--engine", "kaldi"], 2, "unknown engine: kaldi (hint: choose one of emf"),
        (["transcribe", "a.wav", "--precision", "fp8"], 2, "unknown precision: fp8"),
        (["transcribe", "a.wav", "--device", "cuda"], 1, "PocketSphinx runs on the CPU alone: cuda"),
        (["transcribe", "a.wav", "--format", "docx"], 2, "unknown transcript format: docx"),
        (["transcribe", "a.wav", "-f", "srt", "-f", "vtt"], 2, "several formats need a folder"),
        (["transcribe", "a.wav", "b.wav", "-f", "srt"], 2, "need a folder"),
        (["transcribe", "x/a.wav", "y/a.mp3", "-o", "out"], 2, "would be written to one file: a"),
        (["transcribe", "a.wav", "--pcm", "s24le:16000"], 2, "s24le"),
        (["transcribe", "a.wav", "--pcm", "s16le"], 2, "write ENCODING:RATE"),
        (["transcribe", "a.wav", "--batch-size", "0"], 2, "--batch-size"),
        (["transcribe", "a.wav", "--engine", "null", "--timestamps", "syllable"], 2, "syllable"),
        (["transcribe", "a.wav", "--engine", "null", "--prompt", "x"], 1, "no such audio file: a.wav"),
        (["models", "inspect", "no-such-model"], 1, "no such model"),
        (["models", "pull", "pocketsphinx-en-us"], 1, "nothing to pull"),
        (["corpus", "show", "no-such-corpus"], 1, "no such corpus"),
        (["corpus", "synth", "--backend", "hal9000", "-o", "x"], 2, "unknown backend: hal9000"),
        (["bench", "offline", "--runs", "0"], 2, "--runs"),
        (["bench", "offline", "--engine", "null:a:b:c:d"], 2, "not an arm: null:a:b:c:d"),
        (["bench", "offline", "--engine", "null", "--engine", "null"], 2, "named twice: null"),
        (["bench", "offline", "--per-file", "--batch-size", "2"], 2, "have no time of their own"),
        (["bench", "offline", "--normaliser", "magic"], 2, "unknown normaliser: magic"),
        (["runs", "show", "no-such-run"], 2, "no-such-run"),
        (["runs", "export", "no-such-run"], 2, "no-such-run"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(auricle: Auricle, arguments: list[str], status: int, says: str) -> None:
    answer = auricle(*arguments)
    lines = [line for line in answer.err.splitlines() if "of 1 failed" not in line]
    assert answer.status == status
    assert not answer.out
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert says in lines[0]


def test_debug_shows_the_traceback(auricle: Auricle) -> None:
    answer = auricle("--debug", "transcribe", "a.wav", "--engine", "kaldi")
    assert answer.status == 2
    assert "Traceback" in answer.err
    assert answer.err.splitlines()[-1].startswith("error: unknown engine")


def test_the_version_is_told(auricle: Auricle) -> None:
    assert auricle("--version").out == f"auricle {package.__version__}\n"


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m auricle models list --json | head -n 1"
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert answer.stderr == ""
    assert answer.stdout.count("\n") == 1


def test_an_interrupt_ends_with_one_line_and_no_process_left(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "auricle", "bench", "offline", "--runs", "50", "--warmup", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        events = None
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (events and '"batch"' in events.read_text()):
            events = next(tmp_path.glob("runs/*/events.jsonl"), None)
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr is not None
        err = process.stderr.read()
    assert process.returncode == 130
    assert err == "error: interrupted; what was finished is kept\n"
    assert next(tmp_path.glob("runs/*/events.jsonl.gz")).stat().st_size > 0
