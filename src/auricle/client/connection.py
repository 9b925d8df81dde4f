"""A WebSocket to a server: the protocol of the `websockets` library, without its tasks and queues.

One call per message in either direction, made from the transport's own callbacks, costs about half of what the
library's asyncio client costs; that is what lets one process play hundreds of streams on time.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from auricle.client.errors import RefusedError, ServerError
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.http11 import Response

MAX_MESSAGE_BYTES = 1 << 24
BUSY_STATUSES = (429, 503)
GOODBYE = CloseCode.NORMAL_CLOSURE
NOT_TOLD = (int(CloseCode.ABNORMAL_CLOSURE), "")
EXCERPT = 300


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, with which HTTP headers."""

    url: str
    headers: Sequence[tuple[str, str]] = ()


class Listener(Protocol):
    """Who a connection tells what happens to it; all calls come from the event loop."""

    def message(self, message: str | bytes) -> None:
        """Take a message."""
        ...

    def full(self, is_full: bool) -> None:
        """Learn that the socket takes no more for now, or takes again."""
        ...

    def closed(self, code: int, reason: str) -> None:
        """Learn that the connection is gone; the last call."""
        ...


class Connection(asyncio.Protocol):
    """An open WebSocket; made by `connect`."""

    def __init__(self, address: Address, listener: Listener) -> None:
        self._protocol = ClientProtocol(parse_uri(address.url), max_size=MAX_MESSAGE_BYTES)
        self._headers = address.headers
        self._listener = listener
        self._parts: list[bytes] = []
        self._is_text = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, message: str | bytes) -> None:
        """Send a message; raises ServerError when the connection is closed."""
        if self._protocol.state is not State.OPEN:
            raise ServerError("the connection is closed", "code {} {}".format(*self._ending()).strip())
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._flush()

    async def close(self, timeout_s: float) -> None:
        """Say goodbye, wait for the answer no longer than that, and let go of the socket."""
        try:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(GOODBYE)
                self._flush()
                await asyncio.wait([self.gone], timeout=timeout_s)
        finally:
            self.abort()

    def abort(self) -> None:
        """Let go of the socket at once."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket."""
        self._transport = cast("asyncio.Transport", transport)
        request = self._protocol.connect()
        for name, value in self._headers:
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Hand over the messages in `data`."""
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event)
            elif not self.opened.done():
                self._answer(protocol.handshake_exc)
        self._flush()
        if self._ending() != NOT_TOLD:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the listener, and who waits, that the connection is gone."""
        protocol = self._protocol
        if error is None:
            protocol.receive_eof()
        if not self.opened.done():
            self._answer(protocol.handshake_exc or ConnectionResetError("the connection was closed"))
        elif not self.opened.cancelled() and self.opened.exception() is None:
            code, reason = self._ending()
            self._listener.closed(code, reason or str(error or ""))
        self.gone.set_result(None)

    def pause_writing(self) -> None:
        """Tell the listener that the server does not read."""
        self._listener.full(True)

    def resume_writing(self) -> None:
        """Tell the listener that the server reads again."""
        self._listener.full(False)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)

    def _ending(self) -> tuple[int, str]:
        """Return the code and the reason that the server closed with, or ours where it broke the protocol."""
        received, sent = self._protocol.close_rcvd, self._protocol.close_sent
        if received is not None:
            return int(received.code), received.reason
        return NOT_TOLD if sent is None or sent.code == GOODBYE else (int(sent.code), sent.reason)

    def _frame(self, frame: Frame) -> None:
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY}:
            self._is_text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return
        data = bytes(frame.data)
        if self._parts or not frame.fin:
            self._parts.append(data)
            if not frame.fin:
                return
            data, self._parts = b"".join(self._parts), []
        try:
            message = data.decode() if self._is_text else data
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
            return
        self._listener.message(message)

    def _answer(self, error: Exception | None) -> None:
        """Settle the handshake."""
        if error is None:
            self.opened.set_result(None)
        elif isinstance(error, InvalidStatus):
            self.opened.set_exception(_no(error.response))
        else:
            cause = error.__cause__ or error
            self.opened.set_exception(ServerError("the server does not open a WebSocket", cause, "check the address"))


async def connect(address: Address, listener: Listener, timeout_s: float) -> Connection:
    """Open a WebSocket.

    Raises RefusedError when the server has no room (HTTP 429 or 503), ServerError when it cannot be reached or says
    something else, UsageError when the address is not one.
    """
    try:
        uri = parse_uri(address.url)
    except InvalidURI as error:
        raise UsageError("not the address of a WebSocket", address.url, "write ws://HOST:PORT/PATH") from error
    loop = asyncio.get_running_loop()
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout_s):
            _, connection = await loop.create_connection(
                lambda: Connection(address, listener), uri.host, uri.port, ssl=tls() if uri.secure else None
            )
            await connection.opened
    except BaseException as error:
        if connection is not None:
            connection.abort()
        if isinstance(error, TimeoutError):
            raise ServerError("the server did not answer", f"{address.url} in {timeout_s:g} s") from error
        if isinstance(error, OSError) and not isinstance(error, ServerError):
            raise ServerError("the server cannot be reached", f"{address.url} ({error})", "is it running?") from error
        raise
    return connection


@cache
def tls() -> ssl.SSLContext:
    """Return how servers are trusted: by the certificates of the system, or of `SSL_CERT_FILE`."""
    return ssl.create_default_context()


def refusal(status: int, retry_after: str | None, body: str) -> RefusedError | ServerError:
    """Return the error for an HTTP answer that is not a success: a refusal where the server has no room."""
    found = f"HTTP {status} {_message(body)}".strip()
    if status in BUSY_STATUSES:
        return RefusedError("the server has no room", found, retry_after_s(retry_after, body))
    remedy = "check the key" if status in (401, 403) else "check the address and the options"
    return ServerError("the server does not serve this", found, remedy)


def retry_after_s(header: str | None, body: str) -> float | None:
    """Return the seconds of a `Retry-After` header, else of `retry_after` anywhere in a JSON body."""
    if header is not None and header.strip().isdecimal():
        return float(header)
    found = re.search(r'"retry_after(?:_s)?"\s*:\s*"?([0-9.]+)', body)
    return None if found is None else float(found[1])


def _message(body: str) -> str:
    """Return the message in the JSON that servers answer errors with, else the start of the body."""
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        inner = value.get("error")
        for holder in (inner if isinstance(inner, dict) else value, value):
            for name in ("message", "err_msg", "detail"):
                if isinstance(holder.get(name), str):
                    body = holder[name]
    return " ".join(body.split())[:EXCERPT]


def _no(response: Response) -> RefusedError | ServerError:
    body = bytes(response.body or b"").decode(errors="replace")
    return refusal(response.status_code, response.headers.get("Retry-After"), body)
