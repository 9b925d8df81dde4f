"""A file over HTTP as a stream of one chunk: posted when it has been spoken, its answer typed like any other."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from auricle.audio import load
from auricle.client.clips import make_clip
from auricle.client.dialects import HTTP, dialect_of, live
from auricle.client.dialects.base import Target
from auricle.client.pacing import Schedule
from auricle.client.stream import new_record, run
from auricle.errors import UsageError
from tests.client.servers import noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auricle.client.events import StreamRecord


class Answers(BaseHTTPRequestHandler):
    """Answers every post as planted and keeps what was posted."""

    status = 200
    body = b'{"text":"heard"}'
    retry_after: str | None = None
    delay_s = 0.0
    posted: list[tuple[str, dict[str, str], dict[str, bytes]]]

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        form = message_from_bytes(b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + data)
        parts = {
            str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
            for part in form.walk()
            if not part.is_multipart()
        }
        self.posted.append((self.path, dict(self.headers), {k: v for k, v in parts.items() if isinstance(v, bytes)}))
        time.sleep(self.delay_s)
        self.send_response(self.status)
        if self.retry_after:
            self.send_header("Retry-After", self.retry_after)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that gave up is what some tests are about."""


@contextmanager
def answering(**planted: Any) -> Iterator[tuple[str, type[Answers]]]:
    handler = type("Planted", (Answers,), {**planted, "posted": []})
    with QuietServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()
            thread.join()


def post(url: str, speed: float | None = None, **target: Any) -> StreamRecord:
    wanted = Target(url=url, dialect=HTTP, **{"model": "m", **target})
    clip = make_clip(noise(0.6), wanted)
    schedule = Schedule(clip.samples, clip.rate, 1600, speed)
    record = new_record(wanted, clip, schedule)
    asyncio.run(run(wanted, clip, schedule, record))
    return record


def test_the_whole_recording_is_posted_and_the_transcript_recorded() -> None:
    with answering() as (url, answers):
        record = post(url, key="k", language="en", query=(("prompt", "names"),))
    ((path, headers, form),) = answers.posted
    assert path == "/v1/audio/transcriptions"
    assert headers["Authorization"] == "Bearer k"
    assert (form["model"], form["language"], form["prompt"]) == (b"m", b"en", b"names")
    assert np.array_equal(load(io.BytesIO(form["file"])).samples, noise(0.6).samples)
    assert (record.outcome, record.text, list(record.covered_s)) == ("complete", "heard", [0.6])
    assert (len(record.sent_s), record.chunk) == (1, 9600)


def test_the_latency_counts_from_the_end_of_the_speech() -> None:
    with answering(delay_s=0.2) as (url, _):
        record = post(url, speed=1.0)
    assert record.start_s is not None
    assert record.due_s[0] == pytest.approx(record.start_s + 0.6)
    assert record.due_s[0] <= record.sent_s[0] <= record.heard_s[0] - 0.2


def test_an_address_with_a_path_is_taken_as_it_is() -> None:
    with answering() as (url, answers):
        post(f"{url}/own/path")
    assert answers.posted[0][0] == "/own/path"


@pytest.mark.parametrize("status", [429, 503])
def test_no_room_is_a_refusal(status: int) -> None:
    with answering(status=status, retry_after="9", body=b"full") as (url, _):
        record = post(url)
    assert (record.outcome, record.retry_after_s) == ("refused", 9.0)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"heard"), (200, b'{"text":3}'), (200, b"[]"), (200, b"\xff"), (500, b"broken"), (302, b"")],
)
def test_any_other_answer_is_a_failure(status: int, body: bytes) -> None:
    with answering(status=status, body=body) as (url, _):
        record = post(url)
    assert record.outcome == "failed"
    assert record.error


def test_an_answer_that_does_not_come_is_a_failure() -> None:
    with answering(delay_s=0.5) as (url, _):
        record = post(url, finish_s=0.2)
    assert record.outcome == "failed"
    assert "did not answer" in (record.error or "")


def test_nobody_at_the_address_is_a_failure() -> None:
    with answering() as (url, _):
        pass
    record = post(url)
    assert (record.outcome, record.ready_s) == ("failed", None)


@pytest.mark.parametrize("option", [{"endpoints": True}, {"model": None}])
def test_what_an_upload_cannot_do_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        post("http://127.0.0.1:1", **option)


@pytest.mark.parametrize(
    ("url", "dialect"),
    [
        ("http://h/", "openai-http"),
        ("https://h/v1/audio/transcriptions", "openai-http"),
        ("ws://h/v1/listen", "deepgram"),
        ("wss://h/v1/realtime?intent=transcription", "openai-realtime"),
        ("ws://h:6006", "sherpa"),
        ("ws://h/asr", "sherpa"),
    ],
)
def test_the_address_tells_the_dialect(url: str, dialect: str) -> None:
    assert dialect_of(url) == dialect


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(UsageError, match="openai-realtime"):
        live("telepathy")


def test_the_record_of_an_upload_can_be_told_as_events() -> None:
    with answering() as (url, _):
        events = post(url).events()
    assert [event["event"] for event in events if event["event"] != "audio_due"][-2:] == ["final", "closed"]
    assert json.loads(json.dumps(events)) == events
