"""`auricle serve` as a process of its own: it starts, works, and ends when it is told to."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from tests.serve.recordings import noise, wav

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 60
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")


class Process:
    """A server process; `url` is what it told, `lines` all that it said on stderr."""

    def __init__(self, popen: subprocess.Popen[str], stderr: IO[str]) -> None:
        self.popen = popen
        self.lines: list[str] = []
        self.url = ""
        self._told = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(stderr,))
        self._reader.start()

    def wait_for_url(self) -> None:
        assert self._told.wait(WAIT_S), self.lines
        assert self.url, self.lines

    def end(self, number: int) -> int:
        self.popen.send_signal(number)
        status = self.popen.wait(WAIT_S)
        self.wait_until_silent()
        return status

    def wait_until_silent(self) -> None:
        """Wait until its last child has ended too."""
        self._reader.join(WAIT_S)
        assert not self._reader.is_alive(), "a child of the server goes on"

    def _read(self, stderr: IO[str]) -> None:
        for line in stderr:
            self.lines.append(line)
            if found := re.search(r"^serving .* on (http://\S+)$", line):
                self.url = found[1]
                self._told.set()
        self._told.set()


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[Process]:
    command = [sys.executable, "-m", "auricle", "serve", "--port", "0", *arguments]
    env = {name: value for name, value in os.environ.items() if not name.startswith("AURICLE_")} | environment
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as popen:
        assert popen.stderr is not None
        process = Process(popen, popen.stderr)
        try:
            process.wait_for_url()
            yield process
        finally:
            if popen.poll() is None:
                popen.kill()
            process.wait_until_silent()


def post(url: str) -> httpx.Response:
    files = {"file": ("a.wav", wav(noise(1.0)))}
    return httpx.post(f"{url}/v1/audio/transcriptions", data={"model": "null"}, files=files, timeout=WAIT_S)


@POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_transcribes_and_exits_with_0_when_told_to(number: int) -> None:
    with serving("--engine", "null", "--set", "skip_silence=no") as process:
        assert httpx.get(f"{process.url}/ready", timeout=WAIT_S).status_code == 200
        assert len(post(process.url).json()["text"].split()) == 2
        assert process.end(number) == 0
        assert process.lines[0].startswith("serving null (null, cpu, fp32) on http://127.0.0.1:")
        assert not [line for line in process.lines if "Traceback" in line or "error" in line.lower()]
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{process.url}/ready", timeout=WAIT_S)


@POSIX
def test_a_live_stream_may_finish_when_the_server_is_told_to_stop() -> None:
    audio = (noise(4.0) / 32768).astype("<f4")
    with serving("--engine", "null") as process, connect(process.url.replace("http", "ws")) as stream:
        stream.send(audio[:16_000].tobytes())
        stream.recv(WAIT_S)
        process.popen.send_signal(signal.SIGTERM)
        while httpx.get(f"{process.url}/ready", timeout=WAIT_S).status_code == 200:
            time.sleep(0.01)
        with pytest.raises(InvalidStatus, match="503"):
            connect(process.url.replace("http", "ws")).close()
        stream.send(audio[16_000:].tobytes())
        stream.send("Done")
        messages = list(iter(lambda: stream.recv(WAIT_S), "Done!"))
        stream.close()
        assert len(json.loads(messages[-1])["text"].split()) == 8
        assert process.popen.wait(WAIT_S) == 0


@POSIX
def test_a_live_stream_that_does_not_finish_is_told() -> None:
    with serving("--engine", "null", "--set", "drain_s=0.3") as process:
        with connect(process.url.replace("http", "ws")) as stream:
            process.popen.send_signal(signal.SIGTERM)
            message = json.loads(stream.recv(WAIT_S))
            assert "shutting down" in message["error"]["message"]
            with pytest.raises(ConnectionClosedError, match="1011"):
                stream.recv(WAIT_S)
        assert process.popen.wait(WAIT_S) == 0


@POSIX
def test_the_environment_and_the_keys_are_honoured(tmp_path: Path) -> None:
    key = "k-0123456789abcdef"
    file = tmp_path / "api-keys.json"
    file.write_text(json.dumps([key]))
    file.chmod(0o400)
    with serving("--admission", "off", ENGINE="null", AURICLE_API_KEYS=str(file), AURICLE_HOST="0.0.0.0") as process:  # noqa: S104  with keys
        url = process.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104  the address that was told
        assert post(url).status_code == 401
        assert httpx.get(f"{url}/health", timeout=WAIT_S).json()["live"]["max_duty"] is None
        assert httpx.get(f"{url}/metrics?key={key}", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert process.end(signal.SIGTERM) == 0
        assert any("GET /metrics 200" in line for line in process.lines)
        assert not [line for line in process.lines if key in line]


@POSIX
def test_an_upload_that_is_under_way_does_not_hold_up_the_end_for_long() -> None:
    with serving("--engine", "null", "--set", "drain_s=0.5") as process:
        port = int(process.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
            connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n--b".encode())
            while httpx.get(f"{process.url}/health", timeout=WAIT_S).json()["files"]["open"] == 0:
                time.sleep(0.01)
            assert process.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--host", "0.0.0.0"], 2, "an address that others can reach needs keys: 0.0.0.0"),  # noqa: S104  refused
        (["--host", "no.such.host.invalid", "--api-keys", "KEYS"], 2, "cannot listen"),
        (["--api-keys", "missing.json"], 2, "key file cannot be read"),
        (["--workers", "0"], 2, "setting workers is not usable: 0"),
        (["--engine", "kaldi"], 2, "unknown engine: kaldi"),
        (["--set", "volume=11"], 2, "unknown setting: volume"),
        (["--set", "volume"], 2, "not a setting: volume (hint: write NAME=VALUE)"),
        (["--admission", "perhaps"], 2, "--admission"),
        (["--config", "missing.toml"], 2, "settings file cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, arguments: list[str], status: int, says: str) -> None:
    (tmp_path / "KEYS").write_text('["k-0123456789abcdef"]')
    command = [sys.executable, "-m", "auricle", "serve", "--port", "0", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=WAIT_S)
    assert (answer.returncode, answer.stdout) == (status, "")
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert says in answer.stderr


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        command = [sys.executable, "-m", "auricle", "serve", "--engine", "null", "--port", port]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert answer.returncode == 2
    assert f"cannot listen: 127.0.0.1 port {port}" in answer.stderr
