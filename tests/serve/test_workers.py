"""`auricle serve --workers 2`: front-end processes share one engine process, and whichever of them ends is replaced."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from auricle.client.events import Heard
from tests.serve.faults import DIALECTS, HEALTHY, faultless, of_kind, play_healthy, recording, until_live, wired
from tests.serve.live_helpers import drop, null_text
from tests.serve.recordings import noise, wav
from tests.serve.test_app_process import WAIT_S, post, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from websockets.http11 import Response
    from websockets.sync.client import ClientConnection

    from tests.serve.test_app_process import Process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems share one listening socket")
TWO = ("--engine", "null", "--workers", "2", "--admission", "off", "--set", "skip_silence=no")
SAMPLES = (noise(0.1) / 32768).astype("<f4")
PACKET, TEXT = SAMPLES.tobytes(), null_text(np.tile(SAMPLES, 10))


def eventually(reached: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    until_s = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def children(process: Process, kind: str) -> list[psutil.Process]:
    """The front-end or engine processes of a server."""
    found = psutil.Process(process.popen.pid).children()
    return [child for child in found if child.is_running() and command(child)[-1:] == [kind]]


def command(process: psutil.Process) -> list[str]:
    """The command line, empty for a process that has ended."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def connections(front: psutil.Process) -> int:
    """How many clients a front-end has."""
    return sum(one.status == psutil.CONN_ESTABLISHED for one in front.net_connections("tcp"))


def ready(process: Process) -> int:
    """The status that a front-end answers, whichever it is."""
    return httpx.get(f"{process.url}/ready", timeout=WAIT_S).status_code


def live(process: Process) -> int:
    return int(httpx.get(f"{process.url}/health", timeout=WAIT_S).json()["live"]["streams"])


def figures(process: Process) -> dict[tuple[str, ...], float]:
    """The value of each sample under its name and its labels' values, from whichever front-end answers."""
    families = text_string_to_metric_families(httpx.get(f"{process.url}/metrics", timeout=WAIT_S).text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


@contextmanager
def listen(process: Process) -> Iterator[ClientConnection]:
    """Open a stream of sherpa-onnx's dialect that has been heard."""
    with connect(process.url.replace("http", "ws")) as stream:
        for _ in range(6):
            stream.send(PACKET)
        stream.recv(WAIT_S)
        yield stream


def refused(process: Process, path: str = "/") -> Response:
    """Return the answer to a stream that is not let in."""
    with pytest.raises(InvalidStatus) as refusal, connect(process.url.replace("http", "ws") + path):
        pass
    return refusal.value.response


def finish(stream: ClientConnection) -> str:
    """Send 0.4 s more, so that there are two words, and return the last text."""
    for _ in range(4):
        stream.send(PACKET)
    stream.send("Done")
    messages = list(iter(partial(stream.recv, WAIT_S), "Done!"))
    return str(json.loads(messages[-1])["text"])


def last_words(stream: ClientConnection) -> dict[str, Any]:
    """Read until the server closes for an error, and return its last message."""
    told: dict[str, Any] = {}
    with suppress(ConnectionClosedError):
        while True:
            told = json.loads(stream.recv(WAIT_S))
    assert stream.close_code == 1011
    return told


def fill(stream: ClientConnection, packets: int) -> bool:
    """Send masked frames until the server takes no more; tell whether that came about."""
    stream.socket.setblocking(False)
    try:
        for _ in range(packets):
            stream.socket.send(bytes([0x82, 0xFE, 0x19, 0x00, 0, 0, 0, 0]) + PACKET)
    except BlockingIOError:
        return True
    return False


@contextmanager
def streams_on_both(process: Process) -> Iterator[dict[int, list[ClientConnection]]]:
    """Open streams until each front-end has two, under the process that each is on."""
    with ExitStack() as stack:
        held: dict[int, list[ClientConnection]] = {front.pid: [] for front in children(process, "front-end")}
        while any(len(streams) < 2 for streams in held.values()):
            before = {front.pid: connections(front) for front in children(process, "front-end")}
            stream = stack.enter_context(listen(process))
            (front,) = (one for one in children(process, "front-end") if connections(one) > before[one.pid])
            held[front.pid].append(stream)
        yield held


def test_streams_on_two_front_ends_lose_and_repeat_nothing() -> None:
    async def play(process: Process) -> None:
        playing = asyncio.gather(*(play_healthy(process.url, seconds=12.0) for _ in range(2)))
        await until_live(process.url, lambda live: live >= HEALTHY)
        shares = [connections(front) for front in children(process, "front-end")]
        assert len(shares) == 2
        assert min(shares) >= HEALTHY // 8
        records = [record for played in await playing for record in played]
        assert [(record.outcome, record.error) for record in records] == [("complete", None)] * 2 * HEALTHY
        assert {record.dialect for record in records} == set(DIALECTS)

    with faultless(*TWO) as process:
        asyncio.run(play(process))
        eventually(lambda: live(process) == 0)


def test_all_front_ends_share_one_limit() -> None:
    with faultless(*TWO, "--max-streams", "16") as process, streams_on_both(process) as held, ExitStack() as more:
        for _ in range(16 - sum(map(len, held.values()))):
            more.enter_context(listen(process))
        for _ in range(8):
            answer = refused(process)
            told = json.loads(answer.body)["error"]
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
            assert told["limit"] == 16
            assert told["observed"]["streams"] == 16
        eventually(lambda: live(process) == 16)


def test_a_killed_engine_is_told_to_all_streams_and_replaced() -> None:
    with serving(*TWO) as process:
        with streams_on_both(process) as held:
            (engine,), supervisor = children(process, "engine"), psutil.Process(process.popen.pid)
            supervisor.suspend()  # who would replace the engine before we have looked
            engine.kill()
            for stream in (stream for streams in held.values() for stream in streams):
                assert last_words(stream)["error"]["type"] == "EngineCrashedError"
        answer = refused(process)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert post(process.url).status_code == 503
        assert ready(process) == 503
        supervisor.resume()
        eventually(lambda: all(ready(process) == 200 for _ in range(20)))
        assert {record.outcome for record in asyncio.run(play_healthy(process.url))} == {"complete"}
        assert post(process.url).status_code == 200
        assert process.end(signal.SIGTERM) == 0
    assert not [line for line in process.lines if "Traceback" in line]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect_tells_in_its_own_words_that_the_engine_was_killed(dialect: str) -> None:
    async def scenario(process: Process) -> None:
        async with wired(process.url, dialect) as one, wired(process.url, dialect) as other:
            clip, _ = recording(dialect, 1.0, 1)
            for wire in (one, other):
                await wire.play(clip, seconds=1.0)
                await wire.until(Heard)
            (engine,) = children(process, "engine")
            engine.kill()
            for wire in (one, other):
                assert await wire.ending() in {1011, 1012}
                assert of_kind(wire, "engine")

    with faultless(*TWO) as process:
        asyncio.run(scenario(process))


def test_a_killed_front_end_gives_its_streams_back_and_the_other_does_not_notice() -> None:
    with serving(*TWO) as process:
        with streams_on_both(process) as held:
            before = figures(process)
            (killed, lost), (_, kept) = held.items()
            eventually(lambda: live(process) == len(lost) + len(kept))
            os.kill(killed, signal.SIGKILL)
            eventually(lambda: live(process) == len(kept))
            for stream in kept:
                assert finish(stream) == TEXT
            eventually(lambda: len(children(process, "front-end")) == 2)
            after = figures(process)
        eventually(
            lambda: len([line for line in process.lines if "front-end process" in line and "ended" in line]) == 1
        )
        counted = [key for key in before if key[0].endswith(("_total", "_count", "_sum", "_bucket"))]
        assert all(after[key] >= before[key] for key in counted)
        asyncio.run(play_healthy(process.url))
        assert process.end(signal.SIGTERM) == 0


def test_nothing_is_left_running_when_the_supervisor_is_killed() -> None:
    with serving(*TWO) as process:
        family = psutil.Process(process.popen.pid).children(recursive=True)
        assert len(family) == 3
        folders = {file.path for one in family for file in one.open_files() if "auricle-" in file.path}
        process.popen.kill()
        _, left = psutil.wait_procs(family, WAIT_S)
        assert left == []
        assert folders
        eventually(lambda: not any(os.path.exists(folder) for folder in folders))  # noqa: PTH110  as psutil tells them


def test_live_streams_may_finish_when_the_server_is_told_to_stop() -> None:
    with serving(*TWO) as process:
        family = psutil.Process(process.popen.pid).children(recursive=True)
        with streams_on_both(process) as held:
            process.popen.send_signal(signal.SIGTERM)
            eventually(lambda: all(ready(process) == 503 for _ in range(20)))
            assert refused(process).status_code == 503
            for stream in (stream for streams in held.values() for stream in streams):
                assert finish(stream) == TEXT
        assert process.popen.wait(WAIT_S) == 0
        assert not [one for one in family if one.is_running()]
    assert not [line for line in process.lines if "Traceback" in line or "ERROR" in line]


def test_figures_of_all_processes_add_up_whoever_is_asked() -> None:
    with faultless(*TWO) as process:
        for _ in range(12):
            assert post(process.url).status_code == 200
        with streams_on_both(process) as held:
            streams = [stream for streams in held.values() for stream in streams]
            received = pytest.approx(0.6 * len(streams))
            eventually(lambda: figures(process)["auricle_audio_in_seconds_total", "live"] == received)
            eventually(lambda: all(live(process) == len(streams) for _ in range(20)))
            for _ in range(6):
                seen = figures(process)
                assert seen["auricle_request_seconds_count", "POST", "/v1/audio/transcriptions", "200"] == 12
                assert seen["auricle_audio_in_seconds_total", "file"] == pytest.approx(12)
                assert seen["auricle_audio_out_seconds_total", "file"] == pytest.approx(12)
                assert seen["auricle_audio_in_seconds_total", "live"] == received
                assert seen["auricle_live_streams",] == len(streams)
                assert seen["auricle_files_open",] == 0
                assert seen["auricle_step_streams_sum",] == seen["auricle_queue_wait_seconds_count",]
                assert seen["process_resident_memory_bytes",] > 50e6
        eventually(lambda: figures(process)["auricle_live_streams",] == 0)


def test_all_front_ends_share_the_limit_of_files() -> None:
    with faultless(*TWO, "--set", "max_files=2", "--set", "drain_s=0.5") as process, ExitStack() as stack:
        for _ in range(2):
            upload = stack.enter_context(socket.create_connection(("127.0.0.1", int(process.url.rsplit(":", 1)[1]))))
            head = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
            upload.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n--b".encode())
        eventually(
            lambda: httpx.get(f"{process.url}/health", timeout=WAIT_S).json()["files"] == {"open": 2, "limit": 2}
        )
        for _ in range(8):
            answer = post(process.url)
            assert answer.status_code == 503
            assert "limit 2, observed 2" in answer.json()["error"]["message"]


def test_a_file_gives_the_text_that_one_process_gives() -> None:
    texts = []
    file = wav(noise(61.3, 4))
    for arguments in (TWO, ("--engine", "null", "--set", "skip_silence=no")):
        with serving(*arguments) as process:
            upload = {"file": ("a.wav", file)}
            data = {"model": "null", "response_format": "verbose_json", "timestamp_granularities[]": "word"}
            answer = httpx.post(f"{process.url}/v1/audio/transcriptions", data=data, files=upload, timeout=WAIT_S)
            texts.append(answer.json())
    assert texts[0] == texts[1]
    assert len(texts[0]["words"]) >= 120


def test_while_the_engine_stands_still_clients_are_held_back_and_memory_stays_flat() -> None:
    with serving(*TWO, "--set", "buffer_s=2") as process:
        family = psutil.Process(process.popen.pid).children()
        (engine,) = children(process, "engine")
        with streams_on_both(process) as held:
            streams = [stream for streams in held.values() for stream in streams]
            before = sum(one.memory_info().rss for one in family)
            engine.suspend()
            assert all(fill(stream, 3000) for stream in streams)
            time.sleep(1.0)
            assert sum(one.memory_info().rss for one in family) - before < 40e6
            engine.resume()
            for stream in streams:
                drop(stream)
        eventually(lambda: live(process) == 0)
        assert process.end(signal.SIGTERM) == 0


def test_a_client_may_come_back_to_any_front_end() -> None:
    with faultless(*TWO) as process:
        url = f"{process.url.replace('http', 'ws')}/sherpa?resumable=true"
        tokens = [leave(url) for _ in range(16)]
        while {token.partition(".")[0] for token in tokens} != {"0", "1"}:
            tokens.append(leave(url))
        for token in tokens:
            with connect(f"{url}&resume={token}&finals=0") as stream:
                told = json.loads(stream.recv(WAIT_S))
                assert (told["token"], told["received"]) == (token, 6 * len(SAMPLES))
                assert finish(stream) == TEXT
        for token in ("0.unknown", "1.unknown", "2.unknown", "../engine.unknown", "."):
            assert refused(process, f"/sherpa?resumable=true&finals=0&resume={token}").status_code == 404


def leave(url: str) -> str:
    """Open a stream that may be come back to, speak, break the connection, and return its token."""
    with connect(url) as stream:
        token = str(json.loads(stream.recv(WAIT_S))["token"])
        for _ in range(6):
            stream.send(PACKET)
        stream.recv(WAIT_S)
        drop(stream)
    return token


def test_a_client_whose_front_end_was_killed_is_told_that_it_cannot_come_back() -> None:
    with serving(*TWO, "--set", "drain_s=1") as process:
        url = f"{process.url.replace('http', 'ws')}/sherpa?resumable=true"
        tokens = [leave(url) for _ in range(8)]
        for front in children(process, "front-end"):
            front.kill()
        eventually(lambda: len(children(process, "front-end")) == 2)
        eventually(lambda: can_connect(process))
        for token in tokens:
            assert refused(process, f"/sherpa?resumable=true&finals=0&resume={token}").status_code == 404
        assert process.end(signal.SIGTERM) == 0


def can_connect(process: Process) -> bool:
    with suppress(httpx.TransportError):
        return ready(process) == 200
    return False


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--engine", "kaldi"], 2, "unknown engine: kaldi"),
        (["--model", "no-such-model"], 1, "no-such-model"),
        (["--api-keys", "missing.json"], 2, "key file cannot be read"),
        (["--host", "no.such.host.invalid", "--api-keys", "keys.json"], 2, "cannot listen"),
    ],
)
def test_what_keeps_a_process_from_starting_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], status: int, says: str
) -> None:
    (tmp_path / "keys.json").write_text('["k-0123456789abcdef"]')
    command = [sys.executable, "-m", "auricle", "serve", "--port", "0", "--workers", "2", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=WAIT_S)
    assert (answer.returncode, answer.stdout) == (status, ""), answer.stderr
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert says in answer.stderr


def test_a_process_that_keeps_ending_before_it_is_ready_ends_the_server(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os, sys\n'auricle.serve.child' in sys.orig_argv and os._exit(7)")
    command = [sys.executable, "-m", "auricle", "serve", "--port", "0", "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=WAIT_S)
    assert answer.returncode == 1
    assert answer.stderr == "error: the engine process ended at its start: status 7\n"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_another_server_with_workers_has_is_told(workers: str) -> None:
    with faultless(*TWO) as process:
        port = process.url.rsplit(":", 1)[1]
        command = [sys.executable, "-m", "auricle", "serve", "--engine", "null", "--port", port, "--workers", workers]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)
        assert answer.returncode == 2
        assert f"cannot listen: 127.0.0.1 port {port}" in answer.stderr
        with socket.create_connection(("127.0.0.1", int(port))):
            assert ready(process) == 200
