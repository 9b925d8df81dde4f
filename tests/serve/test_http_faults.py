"""Uploads that are malformed, too large, too many or cut off, and engines that fail: typed answers, nothing left."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from auricle.errors import EngineCrashedError, EngineError
from tests.serve.recordings import WAIT_S, GatedRecognizer, noise, wav

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.serve.conftest import Running, Start

KEY = "k-0123456789abcdef"
WAV = ("noise.wav", wav(noise(1.0)), "audio/wav")
ROUTE = "/v1/audio/transcriptions"
OPEN_FILES = Path("/proc/self/fd")


def post(server: Running, model: str = "null", file: tuple[str, bytes, str] = WAV, key: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(server.url + ROUTE, data={"model": model}, files={"file": file}, headers=headers, timeout=WAIT_S)


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def spooled() -> int:
    """Count temporary files that this process, and so the server in it, has open."""
    return sum("(deleted)" in str(link.readlink()) for link in OPEN_FILES.iterdir() if link.is_symlink())


@pytest.fixture
def keyed(start: Start, tmp_path: Path) -> Running:
    file = tmp_path / "api-keys.json"
    file.write_text(json.dumps([KEY]))
    return start(api_keys=file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not audio at all",
        b"RIFF\x00\x00\x00\x00WAVE",
        wav(np.empty(0, np.int16)),
        b"\x00" * 5000,
        b"#EXTM3U\n/etc/passwd\n",
    ],
)
def test_what_is_not_audio_is_named_by_its_own_name_alone(server: Running, content: bytes) -> None:
    answer = post(server, file=("..\\..\\/srv/secret/talk\r\n.wav", content, "audio/wav"))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_audio", "file")
    assert "talk" in error["message"]
    assert "/" not in error["message"].replace("and/or", "")
    assert "secret" not in error["message"]
    assert "tmp" not in error["message"]


def multipart(*parts: bytes, boundary: str = "b") -> dict[str, Any]:
    content = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    return {"content": content, "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"}}


PART = b'Content-Disposition: form-data; name="model"\r\n\r\nnull'


@pytest.mark.parametrize(
    "request_",
    [
        multipart(boundary="other"),
        multipart(),
        multipart(b"no header at all"),
        multipart(b"Content-Disposition: form-data\r\n\r\nx"),
        multipart(b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\nx', *[PART] * 300),
        multipart(*[b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\nx'] * 2),
        multipart(b'Content-Disposition: form-data; name="model"\r\n\r\n' + b"x" * 2_000_000),
        {"content": b"--b\r\n" + PART, "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        {"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary="}},
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=" + "b" * 500}},
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b; charset=klingon"}},
    ],
)
def test_a_malformed_form_is_a_bad_request(server: Running, request_: dict[str, Any]) -> None:
    answer = httpx.post(server.url + ROUTE, **request_)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("content_type", ["application/json", "audio/wav", "application/x-www-form-urlencoded", ""])
def test_another_body_is_an_unsupported_media_type(server: Running, content_type: str) -> None:
    answer = httpx.post(server.url + ROUTE, content=b"{}", headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_query_parameters_are_refused(server: Running) -> None:
    answer = httpx.post(f"{server.url}{ROUTE}?language=en", data={"model": "null"}, files={"file": WAV})
    assert answer.status_code == 400
    assert "'language'" in answer.json()["error"]["message"]


def test_unknown_routes_and_methods_have_the_same_shape(server: Running) -> None:
    missing, method = httpx.get(f"{server.url}/v1/nowhere", timeout=WAIT_S), httpx.get(server.url + ROUTE)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (method.status_code, method.json()["error"]["code"]) == (405, "method_not_allowed")
    assert method.headers["Allow"] == "POST"


def test_a_key_is_needed_once_there_are_keys(keyed: Running) -> None:
    assert post(keyed, key=KEY).status_code == 200
    for key in ("", "k-ffffffffffffffff"):
        answer = post(keyed, key=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert not key or key not in answer.text
    assert httpx.post(f"{keyed.url}/v1/audio/translations", data={"model": "null"}).status_code == 401


def test_facts_are_open_and_figures_are_not(keyed: Running) -> None:
    for path in ("/health", "/ready", "/v1/models", "/v1/models/null"):
        assert httpx.get(keyed.url + path).status_code == 200
    assert httpx.get(f"{keyed.url}/metrics", timeout=WAIT_S).status_code == 401
    assert httpx.get(f"{keyed.url}/metrics", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_a_large_upload_without_a_key_still_gets_its_answer(keyed: Running) -> None:
    answer = post(keyed, file=("a.wav", b"\x00" * 20_000_000, "audio/wav"))
    assert answer.status_code == 401


def test_an_upload_that_declares_too_much_is_refused(start: Start) -> None:
    server = start(max_upload_mb=1)
    answer = post(server, file=("a.wav", b"\x00" * 5_000_000, "audio/wav"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "upload_too_large")
    assert "limit 1 MB" in answer.json()["error"]["message"]


def test_an_upload_that_turns_out_too_large_is_refused(start: Start) -> None:
    server = start(max_upload_mb=1)

    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(30):
            yield b"\x00" * 100_000

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = httpx.post(server.url + ROUTE, content=chunks(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "upload_too_large")
    assert eventually(lambda: server.service.files.open == 0)


def test_a_recording_that_proves_too_long_is_refused(start: Start) -> None:
    answer = post(start(max_audio_s=2), file=("a.wav", wav(noise(3.5)), "audio/wav"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "audio_too_long")


def test_beyond_the_limit_files_are_refused_at_once_and_the_others_are_done(start: Start) -> None:
    recognizer = GatedRecognizer()
    server = start(recognizer, max_files=3, files_at_once=1)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(post, server, "gated") for _ in range(3)]
        assert eventually(lambda: server.service.files.open == 3)
        refused = post(server, "gated")
        recognizer.gate.set()
        assert [answer.result().json()["text"] for answer in waiting] == ["done"] * 3
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_files")
    assert "limit 3, observed 3" in refused.json()["error"]["message"]
    assert int(refused.headers["Retry-After"]) > 0
    assert post(server, "gated").status_code == 200


def send_and_vanish(server: Running, content: bytes, *, wait: Callable[[], object]) -> None:
    """Send a request's bytes, wait for something, and close the connection."""
    with socket.create_connection((server.host, server.port), WAIT_S) as connection:
        connection.sendall(content)
        wait()


def raw_request(body: bytes, declared: int | None = None) -> bytes:
    head = (
        f"POST {ROUTE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(body) if declared is None else declared}\r\n\r\n"
    )
    return head.encode() + body


def form(content: bytes) -> bytes:
    parts = (
        PART.replace(b"null", b"gated"),
        b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + content,
    )
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def test_a_client_that_goes_away_cancels_its_work(start: Start) -> None:
    recognizer = GatedRecognizer()
    server = start(recognizer)
    send_and_vanish(server, raw_request(form(WAV[1])), wait=lambda: recognizer.entered.acquire(timeout=WAIT_S))
    assert recognizer.cancelled.wait(WAIT_S)
    assert eventually(lambda: server.service.files.open == 0)


def test_a_client_that_goes_away_while_it_waits_frees_its_place_at_once(start: Start) -> None:
    recognizer = GatedRecognizer()
    server = start(recognizer, files_at_once=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, server, "gated")
        assert recognizer.entered.acquire(timeout=WAIT_S)
        send_and_vanish(
            server, raw_request(form(WAV[1])), wait=lambda: eventually(lambda: server.service.files.open == 2)
        )
        assert eventually(lambda: server.service.files.open == 1)
        recognizer.gate.set()
        assert first.result().status_code == 200


def test_a_client_that_goes_away_while_it_sends_frees_its_place(start: Start) -> None:
    server = start(GatedRecognizer())
    body = form(b"\x00" * 3_000_000)
    send_and_vanish(
        server,
        raw_request(body[:2_000_000], len(body)),
        wait=lambda: eventually(lambda: server.service.files.open == 1),
    )
    assert eventually(lambda: server.service.files.open == 0)


def test_an_upload_that_stops_is_given_up(start: Start) -> None:
    server = start(upload_idle_s=0.2)
    with socket.create_connection((server.host, server.port), WAIT_S) as connection:
        connection.sendall(raw_request(form(WAV[1])[:1000], declared=2000))
        answer = b"".join(iter(lambda: connection.recv(10_000), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"upload_timeout"' in answer
    assert eventually(lambda: server.service.files.open == 0)


def test_an_upload_that_only_drips_is_given_up(start: Start) -> None:
    server = start(upload_idle_s=0.5)
    body = form(WAV[1])
    with socket.create_connection((server.host, server.port), WAIT_S) as connection:
        connection.sendall(raw_request(body[:100], declared=len(body)))
        connection.settimeout(0.05)
        answer, began_s = b"", time.monotonic()
        for byte in body[100:]:
            connection.sendall(bytes([byte]))
            with suppress(TimeoutError):
                answer = connection.recv(10_000)
                break
        connection.settimeout(WAIT_S)
        answer += b"".join(iter(lambda: connection.recv(10_000), b""))
        assert time.monotonic() - began_s < WAIT_S
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the upload is too slow" in answer
    assert eventually(lambda: server.service.files.open == 0)


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="open files are counted in /proc")
def test_no_temporary_file_is_left(start: Start) -> None:
    recognizer = GatedRecognizer()
    recognizer.gate.set()
    server = start(recognizer, max_upload_mb=4)
    before = spooled()
    large = ("a.wav", wav(noise(60.0)), "audio/wav")
    body = form(large[1])
    assert post(server, "gated", large).status_code == 200
    assert post(server, "no-such-model", large).status_code == 404
    assert post(server, "gated", ("a.wav", b"\x00" * 2_000_000, "audio/wav")).status_code == 400
    assert post(server, "gated", ("a.wav", b"\x00" * 5_000_000, "audio/wav")).status_code == 413
    recognizer.gate.clear()
    send_and_vanish(server, raw_request(body), wait=lambda: eventually(lambda: spooled() > before))
    send_and_vanish(
        server, raw_request(body[:1_500_000], len(body)), wait=lambda: eventually(lambda: spooled() > before)
    )
    assert eventually(lambda: server.service.files.open == 0)
    assert eventually(lambda: spooled() == before)


def test_an_engine_that_fails_is_told_without_its_paths(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = start(GatedRecognizer(EngineError("no such file: /srv/models/secret.onnx")))
    answer = post(server, "gated")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "recognition_failed")
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text
    assert "secret.onnx" in caplog.text


def test_an_engine_that_crashed_asks_to_come_back(start: Start) -> None:
    answer = post(start(GatedRecognizer(EngineCrashedError("killed"))), "gated")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_a_defect_is_answered_in_the_same_shape_and_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = start(GatedRecognizer(ZeroDivisionError("in /srv/secret")))
    answer = post(server, "gated")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert eventually(lambda: "ZeroDivisionError" in caplog.text)
    assert eventually(lambda: server.service.files.open == 0)


def test_a_server_that_stops_finishes_its_files_and_lets_no_more_in(start: Start) -> None:
    recognizer = GatedRecognizer()
    server = start(recognizer, drain_s=WAIT_S)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, server, "gated")
        assert recognizer.entered.acquire(timeout=WAIT_S)
        server.server.should_exit = True
        assert eventually(lambda: httpx.get(f"{server.url}/ready", timeout=WAIT_S).status_code == 503)
        assert httpx.get(f"{server.url}/health", timeout=WAIT_S).json()["status"] == "draining"
        refused = post(server, "gated")
        recognizer.gate.set()
        assert first.result().json()["text"] == "done"
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")


def test_a_file_that_is_not_done_when_the_server_must_stop_is_told(start: Start) -> None:
    recognizer = GatedRecognizer()
    server = start(recognizer, drain_s=0.2)
    with ThreadPoolExecutor(1) as pool:
        cut_short = pool.submit(post, server, "gated")
        assert recognizer.entered.acquire(timeout=WAIT_S)
        server.server.should_exit = True
        answer = cut_short.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
    assert recognizer.cancelled.is_set()


def test_the_access_log_holds_no_query_and_no_key(keyed: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "auricle")
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.get(f"{keyed.url}/v1/models/a%0d%0ab?api_key={KEY}&x=secret", headers=headers, timeout=WAIT_S)
    httpx.get(f"{keyed.url}/metrics", headers=headers, timeout=WAIT_S)
    assert eventually(lambda: caplog.text.count("auricle.access") == 2)
    lines = [record.getMessage() for record in caplog.records if record.name == "auricle.access"]
    assert lines[0].startswith("127.0.0.1 GET /v1/models/a??b 404 ")
    assert lines[0].endswith(answer.headers["x-request-id"])
    assert KEY not in caplog.text
    assert "secret" not in caplog.text


def test_uploads_at_the_same_time_do_not_mix(server: Running) -> None:
    files = [("a.wav", wav(noise(2.0, seed)), "audio/wav") for seed in range(12)]
    alone = [post(server, file=file).json()["text"] for file in files]
    barrier = threading.Barrier(12)

    def together(file: tuple[str, bytes, str]) -> str:
        barrier.wait(WAIT_S)
        return str(post(server, file=file).json()["text"])

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(together, files)) == alone
    assert len(set(alone)) == 12
