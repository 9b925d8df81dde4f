"""WebSockets behind uvicorn: its request to upgrade is taken over, and messages then come and go by plain calls.

Until the application accepts, nothing more is read. From then on the connection belongs to picows, whose parser is C
and makes no task, queue or dictionary for a message: measured in docs/log.md against the WebSockets of ASGI servers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import unquote

from picows import (
    WSAutoPingStrategy,
    WSListener,
    WSMsgType,
    WSProtocolError,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in its stubs
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from picows import WSFrame, WSTransport
    from starlette.responses import Response
    from uvicorn.config import Config
    from uvicorn.server import ServerState

MAX_MESSAGE_BYTES = 24 * 1024 * 1024
"""The largest message: 15 MiB of audio in base64, in JSON."""
PING_S = 20.0
CLOSE_S = 5.0
READ_BYTES = 8192
MAX_REASON_BYTES = 123
"""The most that a close frame holds."""
NORMAL, RESTART, TOO_BIG, BAD_TEXT, BROKEN = 1000, 1012, 1009, 1007, 1002
NO_CODE, ABNORMAL = 1005, 1006
log = logging.getLogger("auricle.serve")
picows_log = logging.LoggerAdapter(logging.getLogger("auricle.picows"))
"""An adapter, because picows makes a logger for every connection out of a plain one."""


class GoneError(Exception):
    """The client left before it was accepted, or never made a proper request to upgrade."""


class Listener(Protocol):
    """Who a channel tells what happens; all calls come from the event loop."""

    def message(self, message: str | bytes) -> None:
        """Take a message; some still come after `Channel.hold`."""
        ...

    def room(self) -> None:
        """Learn that a client that was slow to read has caught up."""
        ...

    def gone(self, code: int) -> None:
        """Learn that the connection is over, with the client's close code or 1006; the last call."""
        ...


class Channel(WSListener):
    """An accepted WebSocket. `full` tells that the client does not read: what is sent now waits in memory."""

    def __init__(self, listener: Listener, gone: Callable[[], None]) -> None:
        self.full = False
        self.opened = False
        self._listener = listener
        self._gone = gone
        self._transport: WSTransport
        self._parts: list[bytes] = []
        self._is_text = False
        self._held = False
        self._code = ABNORMAL

    def send(self, text: str) -> None:
        """Send a message; does nothing once the connection is closing."""
        if not self._is_closing():  # until the loop says that it is closed, picows would write to a number reused
            self._transport.send(WSMsgType.TEXT, text)

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye, and leave when the client does, or after five seconds."""
        if not self._transport.is_close_frame_sent and not self._is_closing():
            self.release()
            told = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            self._transport.send_close(cast("Any", code), told)
            asyncio.get_running_loop().call_later(CLOSE_S, self.abort)

    def abort(self) -> None:
        """Let go of the connection at once; again does nothing."""
        self._transport.disconnect(graceful=False)

    def hold(self) -> None:
        """Read no more for now, so that TCP holds the client back."""
        self._held = True
        self._transport.underlying_transport.pause_reading()

    def release(self) -> None:
        """Read again; without `hold` before it does nothing."""
        if self._held:
            self._held = False
            self._transport.underlying_transport.resume_reading()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Note that the client was accepted."""
        self._transport = transport
        self._is_closing = transport.underlying_transport.is_closing
        self.opened = True

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Hand over whole messages; answer a close."""
        try:
            self._frame(transport, frame)
        except WSProtocolError:
            raise
        except Exception:  # picows closes with 1011, and its own log is that of what clients do wrong
            log.exception("unexpected error in a WebSocket message")
            raise

    def _frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise WSProtocolError(BROKEN, "reserved bits are set")
        kind = frame.msg_type
        if kind == WSMsgType.BINARY and frame.fin and not self._parts:
            self._listener.message(frame.get_payload_as_bytes())
        elif kind == WSMsgType.TEXT and frame.fin and not self._parts:
            self._listener.message(_text(frame.get_payload_as_bytes()))
        elif kind == WSMsgType.CLOSE:
            self._code = int(cast("int", frame.get_close_code())) or NO_CODE
            if not transport.is_close_frame_sent:
                transport.send_close(cast("Any", NORMAL if self._code == NO_CODE else self._code))
            transport.disconnect()
        elif kind in {WSMsgType.BINARY, WSMsgType.TEXT, WSMsgType.CONTINUATION}:
            self._part(kind, frame)

    def _part(self, kind: WSMsgType, frame: WSFrame) -> None:
        """Gather a message that is text or comes in parts; raises WSProtocolError for one that breaks the rules."""
        if (kind == WSMsgType.CONTINUATION) != bool(self._parts):
            raise WSProtocolError(BROKEN, "a message in parts is out of order")
        if not self._parts:
            self._is_text = kind == WSMsgType.TEXT
        self._parts.append(frame.get_payload_as_bytes())
        if sum(map(len, self._parts)) > MAX_MESSAGE_BYTES:
            raise WSProtocolError(TOO_BIG, "the message is too big")
        if not frame.fin:
            return
        data, self._parts = b"".join(self._parts), []
        self._listener.message(_text(data) if self._is_text else data)

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002  the library's name
        """Tell that the connection is over."""
        self._gone()
        self._listener.gone(self._code)

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        self.full = True

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        self.full = False
        self._listener.room()

    def send_user_specific_ping(self, transport: WSTransport) -> None:
        """Ping an idle client; one that we do not read from could not be heard to answer."""
        if self._held:
            asyncio.get_running_loop().call_soon(transport.notify_user_specific_pong_received)
        else:
            transport.send_ping()


class Opening:
    """A client that asks for a WebSocket; it is accepted or denied once."""

    def __init__(self, request: bytes, transport: asyncio.Transport, over: Callable[[], None]) -> None:
        self.request = connection_of(request, transport)
        self.client = self.request.client.host if self.request.client else None
        self._raw = request
        self._transport = transport
        self._over = over

    def accept(
        self, listener: Listener, subprotocol: str | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> Channel:
        """Open the channel; raises GoneError when the client has left or its request is no proper one."""
        channel = Channel(listener, self._over)
        told = [*headers, *([] if subprotocol is None else [("Sec-WebSocket-Protocol", subprotocol)])]
        response = WSUpgradeResponse.create_101_response(told)
        self._answer(WSUpgradeResponseWithListener(response, channel))
        if not channel.opened:
            raise GoneError
        self._transport.resume_reading()
        return channel

    def pass_on(self, send: Callable[[bytes, int], None]) -> None:
        """Leave the client to another process: `send` is given the request and the number of its socket."""
        send(self._raw, self._transport.get_extra_info("socket").fileno())
        self._transport.close()

    def deny(self, response: Response) -> None:
        """Answer with an HTTP error and close."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
        kept = [(name, value) for name, value in headers if name != "content-length"]
        told = WSUpgradeResponse.create_error_response(response.status_code, bytes(response.body), kept)
        self._answer(WSUpgradeResponseWithListener(told, None))

    def _answer(self, answer: WSUpgradeResponseWithListener) -> None:
        """Let picows read the request as if it had come just now, and hand it the connection."""
        if self._transport.is_closing():
            return
        size = len(self._raw)
        protocol = WSProtocol(
            None, None, False, lambda _: answer, picows_log, True, None, True, PING_S, PING_S,
            WSAutoPingStrategy.PING_WHEN_IDLE, True, MAX_MESSAGE_BYTES, None, max(READ_BYTES, 2 * size),
        )  # fmt: skip
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.get_buffer(size)[:size] = self._raw
        protocol.buffer_updated(size)


class Upgrade(asyncio.Protocol):
    """What uvicorn hands a connection to that asks for a WebSocket: `data_received` gets the whole request."""

    def __init__(
        self,
        serve: Callable[[Opening], Awaitable[None]],
        config: Config,  # noqa: ARG002  uvicorn's arguments
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002  the same
    ) -> None:
        self._serve = serve
        self._state = server_state
        self._transport: asyncio.Transport
        self._opening: Opening | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over."""
        self._transport = cast("asyncio.Transport", transport)
        self._state.connections.add(cast("Any", self))

    def data_received(self, data: bytes) -> None:
        """Take the request, and read nothing more until it is answered."""
        self._transport.pause_reading()
        self._opening = Opening(data, self._transport, self._over)
        task = asyncio.get_running_loop().create_task(self._run(self._opening))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  the loop's name
        """Forget a client that left before it was answered."""
        self._over()

    def shutdown(self) -> None:
        """End the connection because the server ends; uvicorn calls this."""
        self._transport.close()

    def _over(self) -> None:
        self._state.connections.discard(cast("Any", self))

    async def _run(self, opening: Opening) -> None:
        try:
            await self._serve(opening)
        except Exception:
            log.exception("unexpected error on a WebSocket")
            opening.deny(JSONResponse({"error": {"message": "internal error"}}, 500))
            self._transport.close()
        finally:
            self._over()


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise WSProtocolError(BAD_TEXT, "text that is not UTF-8") from None


def connection_of(request: bytes, transport: asyncio.BaseTransport) -> HTTPConnection:
    """Return the request, which uvicorn has checked and written out again, in the form that routes read."""
    first, *lines = request.removesuffix(b"\r\n\r\n").split(b"\r\n")
    path, _, query = first.split(b" ")[1].partition(b"?")
    headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    peer = transport.get_extra_info("peername")
    client = (peer[0], peer[1]) if isinstance(peer, tuple) else None
    scope = {
        "type": "http",
        "path": unquote(path.decode("latin-1")),
        "query_string": query,
        "headers": headers,
        "client": client,
    }
    return HTTPConnection(scope)


def offered(request: HTTPConnection) -> list[str]:
    """Return the subprotocols that the client offers."""
    return [name.strip() for line in request.headers.getlist("sec-websocket-protocol") for name in line.split(",")]
