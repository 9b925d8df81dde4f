"""OpenAI's `POST /v1/audio/transcriptions` as an engine calls it: patient within a budget, and going nowhere else.

The standard library's client, because it follows no redirect: the key goes to the host that was named and to no other.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from auricle import __version__
from auricle.client.connection import refusal, tls
from auricle.engines.checks import check_cancelled
from auricle.engines.remote_retry import Budget, Limits, asked_pause_s
from auricle.errors import EngineError, ModelError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from auricle.engines.remote_address import RemoteAddress

PATH = "/audio/transcriptions"
MODELS_PATH = "/models"
VERSION_PATH = "/v1"
MOST_BYTES = 64_000_000
"""Of an answer: hours of word times."""
RETRIED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""Answers of a server that did no work."""
NOT_UNDERSTOOD = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
UNLISTED = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: its status, its headers by their names in lower case, and its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpEndpoint:
    """One server, asked by any number of threads at once; every request has a connection of its own."""

    def __init__(self, address: RemoteAddress) -> None:
        self._address = address
        parts = urlsplit(address.url)
        self._parts = parts
        self._base = (parts.path.rstrip("/") or VERSION_PATH).removesuffix(PATH)
        self._limits = Limits()
        self._connections: dict[int, http.client.HTTPConnection] = {}
        self._lock = threading.Lock()

    def models(self) -> tuple[str, ...] | None:
        """Return the names of the models that the server lists, None where it does not; raises EngineError."""
        answer = self._ask("GET", MODELS_PATH, b"", {}, threading.Event())
        if answer.status in UNLISTED:
            return None
        if answer.status != HTTPStatus.OK:
            raise self._refused(answer)
        try:
            return tuple(str(entry["id"]) for entry in json.loads(answer.body)["data"])
        except (ValueError, LookupError, TypeError) as error:
            raise ModelError("the server's list of models cannot be read", self._address.where) from error

    def transcribe(self, wav: bytes, fields: Sequence[tuple[str, str]], cancel: threading.Event) -> dict[str, Any]:
        """Post a recording and return the JSON that came back; raises EngineError, UnsupportedError, CancelledError."""
        body, kind = _multipart(wav, fields)
        answer = self._ask("POST", PATH, body, {"Content-Type": kind}, cancel)
        if answer.status != HTTPStatus.OK:
            raise self._refused(answer)
        try:
            value = json.loads(answer.body)
        except ValueError:
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("text"), str):
            found = self._address.hidden(repr(answer.body[:200]))
            raise EngineError("the server's answer is no transcript", found, "check the address")
        return value

    def hang_up(self, threads: Sequence[int]) -> None:
        """Break off what these threads (by identity) wait for."""
        with self._lock:
            connections = [self._connections[thread] for thread in threads if thread in self._connections]
        for connection in connections:
            _hang_up(connection)

    def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str], cancel: threading.Event) -> Answer:
        """Ask, again where the server did no work, within the budget."""
        address = self._address
        budget = Budget(address.retries, address.retry_s)
        while True:
            if (wait_s := self._limits.wait_s) and not _pause(budget, wait_s, cancel):
                raise self._busy(f"its rate limit is reset in {wait_s:.1f} s")
            try:
                answer = self._once(method, path, body, headers, cancel)
            except ConnectionRefusedError as error:
                if not _pause(budget, None, cancel):
                    raise EngineError("the server cannot be reached", address.where, "is it running?") from error
                continue
            self._limits.heed(answer.headers)
            if answer.status not in RETRIED:
                return answer
            asked_s = asked_pause_s(answer.headers, time.time())
            if not _pause(budget, asked_s, cancel):
                told = "" if asked_s is None else f", asks to wait {asked_s:.1f} s"
                raise self._busy(f"HTTP {answer.status}{told}")

    def _busy(self, found: str) -> EngineError:
        remedy = f"try later, or allow more than {self._address.retry_s:g} s of waiting with #retry_s="
        return EngineError("the server has no room", f"{self._address.where} ({found})", remedy)

    def _once(self, method: str, path: str, body: bytes, headers: Mapping[str, str], cancel: threading.Event) -> Answer:
        address = self._address
        key = {} if address.key is None else {"Authorization": f"Bearer {address.key}"}
        target = f"{self._base}{path}" + (f"?{self._parts.query}" if self._parts.query else "")
        try:
            with self._connection(cancel) as connection:
                connection.request(method, target, body, {"User-Agent": f"auricle/{__version__}", **headers, **key})
                response = connection.getresponse()
                content = response.read(MOST_BYTES + 1)
                told = {name.lower(): value for name, value in response.getheaders()}
        except ConnectionRefusedError:
            raise
        except TimeoutError as error:
            check_cancelled(cancel)
            raise EngineError("the server did not answer", f"{address.where} in {address.answer_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            check_cancelled(cancel)
            found = address.hidden(f"{address.where} ({type(error).__name__} {error})")
            raise EngineError("the connection to the server failed", found, "is it running?") from error
        if len(content) > MOST_BYTES:
            raise EngineError("the server's answer is too long", f"more than {MOST_BYTES:,} bytes")
        return Answer(response.status, told, content)

    @contextmanager
    def _connection(self, cancel: threading.Event) -> Iterator[http.client.HTTPConnection]:
        """Connect; the caller's thread can be made to hang up meanwhile."""
        host, port, connect_s = self._parts.hostname or "", self._parts.port, self._address.connect_s
        if self._parts.scheme == "https":
            connection: http.client.HTTPConnection
            connection = http.client.HTTPSConnection(host, port, timeout=connect_s, context=tls())
        else:
            connection = http.client.HTTPConnection(host, port, timeout=connect_s)
        with self._lock:
            self._connections[threading.get_ident()] = connection
        try:
            connection.connect()
            connection.sock.settimeout(self._address.answer_s)
            check_cancelled(cancel)
            yield connection
        finally:
            with self._lock:
                del self._connections[threading.get_ident()]
            connection.close()

    def _refused(self, answer: Answer) -> EngineError | UnsupportedError:
        """Return the error for an answer that is not a success, without the key where the server repeats it."""
        address = self._address
        said = address.hidden(str(refusal(answer.status, None, answer.body.decode(errors="replace")).value))
        if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
            where = address.hidden(answer.headers.get("location") or "elsewhere")
            what = "the server sends the request, and the key, elsewhere"
            return EngineError(what, f"{address.where} to {where}", "give that address if you trust it")
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            remedy = f"set {address.key_env} to a key of this server"
            return EngineError("the server does not accept the key", f"{address.where} ({said})", remedy)
        if answer.status in NOT_UNDERSTOOD:
            return UnsupportedError("the server refuses the request", f"{address.where} ({said})", "leave that out")
        return EngineError("the server failed the request", f"{address.where} ({said})", "see its log")


def _pause(budget: Budget, asked_s: float | None, cancel: threading.Event) -> bool:
    """Wait before another try and tell whether there is one; raises CancelledError."""
    pause_s = budget.spend(asked_s)
    if pause_s is None:
        return False
    cancel.wait(pause_s)
    check_cancelled(cancel)
    return True


def _multipart(wav: bytes, fields: Sequence[tuple[str, str]]) -> tuple[bytes, str]:
    """Return the body of a form with the recording as its file, and its content type."""
    mark = uuid.uuid4().hex
    head = [f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    file = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="audio.wav"\r\n'
    text = f"{''.join(head)}{file}Content-Type: audio/wav\r\n\r\n"
    return text.encode() + wav + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


def _hang_up(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was closed meanwhile
