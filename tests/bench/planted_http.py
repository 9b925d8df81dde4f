"""A planted server for whole recordings: what it hears it answers after a known time, with known errors."""

from __future__ import annotations

import io
import json
import threading
import time
import wave
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import numpy as np

from tests.bench.planted_speech import Ear, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Uploads:
    """What is planted, and the log: the words of each upload and how long its answer took, in seconds."""

    delay_s: float
    substituted: frozenset[int] = frozenset()
    most_at_once: int = 1000
    answered: list[tuple[list[str], float]] = field(default_factory=list)
    refused: int = 0
    live: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def words_in(body: bytes) -> list[str]:
    """Return the words of the WAV file in a multipart body."""
    with wave.open(io.BytesIO(body[body.index(b"RIFF") :])) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / np.float32(32768)
        return [word.text for word in Ear(file.getframerate()).feed(samples)]


@contextmanager
def uploading(planted: Uploads) -> Iterator[str]:
    """Serve on a free port and give the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            began_s = time.monotonic()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with planted.lock:
                is_refused = planted.live >= planted.most_at_once
                planted.refused += is_refused
                planted.live += not is_refused
            if is_refused:
                self.answer(503, {"error": {"message": "full"}})
                return
            words = words_in(body)
            time.sleep(planted.delay_s)
            said = [wrong(word) if place in planted.substituted else word for place, word in enumerate(words)]
            with planted.lock:
                planted.answered.append((words, time.monotonic() - began_s))
                planted.live -= 1
            self.answer(200, {"text": " ".join(said)})

        def answer(self, status: int, value: object) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="planted uploads")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
