"""A real HTTP server on the loopback interface that can be told to misbehave, and counts what it sends."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request: an error status, a pause before the body, a cut after so many bytes of it."""

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    pause_s: float = 0.0
    cut_after: int | None = None


@dataclass(slots=True)
class Served:
    """One path: its body and headers, how it is sent, and the faults of the next requests."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = None
    ranges: bool = True
    length: int | None = None
    faults: list[Fault] = field(default_factory=list)
    block_bytes: int | None = None
    block_pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came, its header names in lower case, and how much of a body was sent for it."""

    method: str
    path: str
    headers: dict[str, str]
    sent_bytes: int


class FileServer:
    """Serves `paths`; `seen` holds the requests."""

    def __init__(self) -> None:
        self.paths: dict[str, Served] = {}
        self._seen: list[Seen] = []
        self._at_work = 0
        self._rest = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextmanager
    def at_work(self, request: Callable[[], Seen]) -> Iterator[None]:
        """Answer a request in the body and note it."""
        with self._rest:
            self._at_work += 1
        try:
            yield
        finally:
            with self._rest:
                self._seen.append(request())
                self._at_work -= 1
                self._rest.notify_all()

    @property
    def seen(self) -> list[Seen]:
        """The requests, once all that have come are answered."""
        with self._rest:
            assert self._rest.wait_for(lambda: self._at_work == 0, timeout=10)
            return list(self._seen)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def put(self, path: str, body: bytes, *faults: Fault, etag: str | None = "auto") -> Served:
        """Serve a body at a path, by default with a strong ETag of its content."""
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"' if etag == "auto" else etag
        self.paths[path] = Served(body, etag=tag, faults=list(faults))
        return self.paths[path]

    def url(self, path: str) -> str:
        return f"{self.root}{path}"

    def sent_bytes(self, path: str) -> int:
        return sum(request.sent_bytes for request in self.seen if request.path == path)

    def count(self, path: str, method: str = "GET") -> int:
        return sum(request.path == path and request.method == method for request in self.seen)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put_hub_repository(
    server: FileServer,
    repo: str,
    files: dict[str, bytes],
    sha256: dict[str, str] | None = None,
    commit: str = COMMIT,
) -> None:
    """Serve the endpoints of the model hub for one repository; `sha256` overrides the hashes that it states."""
    stated = {name: (sha256 or {}).get(name, hashlib.sha256(body).hexdigest()) for name, body in files.items()}
    entries = [
        {
            "type": "file",
            "path": name,
            "rfilename": name,
            "size": len(body),
            "oid": "b" * 40,
            "blobId": "b" * 40,
            "lfs": {"oid": stated[name], "sha256": stated[name], "size": len(body), "pointerSize": 130},
        }
        for name, body in files.items()
    ]
    info = {"_id": "1", "id": repo, "sha": commit, "siblings": entries, "private": False, "tags": [], "downloads": 0}
    for revision in ("main", commit):
        _put_json(server, f"/api/models/{repo}/revision/{revision}", info)
        _put_json(server, f"/api/models/{repo}/tree/{revision}", entries)
        for name, body in files.items():
            served = server.put(f"/{repo}/resolve/{revision}/{name}", body, etag=f'"{stated[name]}"')
            served.headers["X-Repo-Commit"] = commit
    _put_json(server, f"/api/models/{repo}", info)


def _put_json(server: FileServer, path: str, content: object) -> None:
    server.put(path, json.dumps(content).encode()).headers["Content-Type"] = "application/json"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, owner: FileServer, *args: object) -> None:
        self._owner = owner
        self._sent = 0
        super().__init__(*args)  # type: ignore[arg-type]  # handed on as the server gives them

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
        """Say nothing."""

    def _answer(self) -> None:
        self._sent = 0
        path = urlsplit(self.path).path
        with self._owner.at_work(
            lambda: Seen(self.command, path, {name.lower(): value for name, value in self.headers.items()}, self._sent)
        ):
            try:
                self._serve(self._owner.paths.get(path))
            except ConnectionError:
                self.close_connection = True

    def _serve(self, served: Served | None) -> None:
        fault = served.faults.pop(0) if served is not None and served.faults else Fault()
        if served is None or fault.status is not None:
            self._head(fault.status or 404, dict(fault.headers) | {"Content-Length": "0"})
            return
        start = self._start(served)
        length = len(served.body) if served.length is None else served.length
        headers = served.headers | ({} if length < 0 else {"Content-Length": str(length - start)})
        if served.etag is not None:
            headers["ETag"] = served.etag
        if start:
            headers["Content-Range"] = f"bytes {start}-{length - 1}/{length}"
        if length < 0:
            headers["Connection"] = "close"
            self.close_connection = True
        self._head(206 if start else 200, headers)
        if self.command == "GET":
            time.sleep(fault.pause_s)
            self._body(served, served.body[start:], fault)

    def _start(self, served: Served) -> int:
        """Where the answer begins: RFC 9110's Range, if If-Range still holds."""
        wanted = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if not served.ranges or wanted is None or condition not in {None, served.etag}:
            return 0
        return int(wanted.removeprefix("bytes=").partition("-")[0])

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, served: Served, body: bytes, fault: Fault) -> None:
        wanted = body if fault.cut_after is None else body[: fault.cut_after]
        size = served.block_bytes or len(wanted) or 1
        for begin in range(0, len(wanted), size):
            self.wfile.write(wanted[begin : begin + size])
            self.wfile.flush()
            self._sent += len(wanted[begin : begin + size])
            time.sleep(served.block_pause_s)
        if fault.cut_after is not None:
            self.close_connection = True
