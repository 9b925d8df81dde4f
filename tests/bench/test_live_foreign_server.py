"""`auricle bench live` on a server that is not ours: sherpa-onnx's own, running a toy graph that hears tones.

What it hears follows from the tones: every word of a recording, but for one that follows itself, which the graph never
says again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import wave
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from tests.bench.planted_runs import bench
from tests.bench.test_live_recomputed import check
from tests.engines import sherpa_graphs as graphs

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = "sherpa-onnx-online-websocket-server"
SENTENCES = ("one two three", "three one", "two three one", "one three", "two two one", "three one two")
BEFORE_S, GAP_S = 0.4, 0.4
START_S = 30.0
FRAME_S = 0.08
"""A frame of the graph. It answers two of them at once, and each is smoothed with the one before it."""
SLACK_S = 0.3


def write_corpus(folder: Path) -> Path:
    """Write a recording of each sentence, and the manifest with the times of its words."""
    folder.mkdir()
    rows = []
    for number, sentence in enumerate(SENTENCES):
        path = folder / f"u{number}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(graphs.RATE)
            samples = graphs.say(sentence, before_s=BEFORE_S, gap_s=GAP_S).samples
            file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
        words, at_s = [], BEFORE_S
        for word in sentence.split():
            end_s = at_s + graphs.TONE_S * len(graphs.WORDS[word])
            words.append({"word": word, "start": round(at_s, 6), "end": round(end_s, 6)})
            at_s = end_s + GAP_S
        row = {"id": path.stem, "audio": path.name, "text": sentence, "language": "en", "words": words}
        rows.append(json.dumps(row))
    manifest = folder / "manifest.jsonl"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return manifest


def listening_port(process: psutil.Process) -> int:
    """Wait until a process listens, and return where."""
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        for found in process.net_connections(kind="tcp"):
            if found.status == psutil.CONN_LISTEN:
                return int(found.laddr.port)
        time.sleep(0.05)
    pytest.fail(f"{SERVER} does not listen after {START_S:g} s")


@contextmanager
def serving(folder: Path) -> Iterator[tuple[int, int]]:
    """Run the vendor's server on the toy graph, and give its process and its port."""
    program = shutil.which(SERVER, path=str(Path(sys.executable).parent)) or shutil.which(SERVER)
    if program is None or find_spec("onnx") is None:
        pytest.skip(f"needs {SERVER} of the package sherpa-onnx-bin, and onnx")
    graphs.nemo_live_transducer(folder)
    files = [f"--{kind}={folder / kind}.onnx" for kind in ("encoder", "decoder", "joiner")]
    options = ["--port=0", f"--tokens={folder / 'tokens.txt'}", f"--log-file={folder / 'log.txt'}", *files]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process.pid, listening_port(psutil.Process(process.pid))
        finally:
            process.terminate()


@pytest.mark.slow
def test_the_vendors_own_server_is_measured_at_two_levels(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    with serving(tmp_path / "model") as (pid, port):
        options = ["--server", f"ws://127.0.0.1:{port}", "--dialect", "sherpa", "--server-pid", str(pid)]
        load = ["--corpus", str(manifest), "--concurrency", "2,12", "--seconds", "12", "--normaliser", "basic"]
        run = bench(tmp_path / "runs", *options, *load)
    heard = {f"u{n}": " ".join(word for word, _ in groupby(text.split())) for n, text in enumerate(SENTENCES)}
    levels = run.info["levels"]
    assert [(level["phase"], level["live"]) for level in levels] == [("reference", 1), ("level", 2), ("level", 12)]
    for level in levels:
        streams = run.streams(level["level"])
        counts = level["streams"]
        assert counts["tried"] == counts["complete"] == len(streams) >= len(SENTENCES)
        texts = [(event["programme"], " ".join(m[3] for m in event["messages"] if m[2] and m[3])) for event in streams]
        assert texts == [(name, heard[name]) for name, _ in texts]
        twice = sum(name == "u4" for name, _ in texts)
        assert [level["wer"][kind] for kind in ("substitutions", "deletions", "insertions")] == [0, twice, 0]
        assert level["server"]["peak_rss_bytes"] > 0
    for level in levels[1:]:
        assert level["streams"]["held"] >= level["live"] - 1
        assert level["differing"]["different"] == 0
        assert level["chunk"] is level["late"] is level["drift"] is level["slo"]["criteria"]["late"] is None
        assert FRAME_S < level["ttft"]["p50_ms"] / 1000 < 4 * FRAME_S + SLACK_S
        assert GAP_S < level["final"]["p50_ms"] / 1000 < GAP_S + SLACK_S  # the silence that ends each recording
        assert 0 < level["finalize"]["p50_ms"] / 1000 < SLACK_S
        assert level["emission"]["never"] == level["wer"]["deletions"]
    assert "Not observable on this dialect: late chunks." in run.output
    check(run)
