"""Servers for the remote engine: the one of this repository, and one that misbehaves as it is told to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STARTED_S = 20.0


@contextmanager
def our_server(log: Path, *arguments: str) -> Iterator[str]:
    """Run `auricle serve --engine null` on a free port and give `HOST:PORT`."""
    command = [sys.executable, "-m", "auricle", "serve", "--engine", "null", "--port", "0", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AURICLE_")}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline_s = time.monotonic() + STARTED_S
        found = None
        while found is None and process.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.05)
            found = re.search(r"on http://(127\.0\.0\.1:\d+)", log.read_text())
        assert found, log.read_text()
        yield found[1]
    finally:
        process.terminate()
        process.wait(STARTED_S)


@dataclass
class Reply:
    """One answer; `hang_s` is waited first."""

    status: int = 200
    body: str = '{"text": "hello"}'
    headers: dict[str, str] = field(default_factory=dict)
    hang_s: float = 0.0


@dataclass
class Planted:
    """The answers to come, the last of them for ever, and what was asked."""

    replies: list[Reply]
    models: Reply = field(default_factory=lambda: Reply(body='{"data": [{"id": "toy"}]}'))
    asked: list[tuple[float, dict[str, str], bytes]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def planted_server(planted: Planted) -> Iterator[str]:
    """Serve on a free port and give `HOST:PORT`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(planted.models)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            planted.asked.append((time.monotonic(), dict(self.headers), body))
            self.answer(planted.replies.pop(0) if len(planted.replies) > 1 else planted.replies[0])

        def answer(self, reply: Reply) -> None:
            planted.over.wait(reply.hang_s)
            content = reply.body.replace("{authorization}", self.headers.get("Authorization", "")).encode()
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:
                self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  the base class's name
            del format, arguments

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        planted.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def words(*texts: str) -> str:
    """A `verbose_json` with words of half a second each."""
    timed = [{"word": text, "start": index / 2, "end": index / 2 + 0.5} for index, text in enumerate(texts)]
    return json.dumps({"text": " ".join(texts), "language": "en", "words": timed})
