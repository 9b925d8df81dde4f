"""From uvicorn's request to upgrade to a WebSocket of picows, or to a refusal with an HTTP status."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from picows import WSAutoPingStrategy, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in its stubs
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from auricle.serve.channel import MAX_MESSAGE_BYTES, Channel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.responses import Response
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from auricle.serve.channel import Listener

PING_S = 20.0
READ_BYTES = 8192
log = logging.getLogger("auricle.serve")
picows_log = logging.LoggerAdapter(logging.getLogger("auricle.picows"))
"""An adapter, because picows makes a logger for every connection out of a plain one."""


class GoneError(Exception):
    """The client left before it was accepted, or never made a proper request to upgrade."""


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
        if _has_left(self._transport):
            self._transport.abort()
            raise GoneError
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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over."""
        self._transport = cast("asyncio.Transport", transport)
        self._state.connections.add(cast("Any", self))
        # uvicorn's own protocol is done once it has called this; it and its parser hold each other.
        asyncio.get_running_loop().call_soon(setattr, self._transport.get_protocol(), "parser", None)

    def data_received(self, data: bytes) -> None:
        """Take the request, and read nothing more until it is answered."""
        self._transport.pause_reading()
        opening = Opening(data, self._transport, self._over)
        task = asyncio.get_running_loop().create_task(self._run(opening))
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


def _has_left(transport: asyncio.BaseTransport) -> bool:
    """Tell whether the connection is closed, or the client closed it: the loop, which does not read, would not know."""
    if transport.is_closing():
        return True
    probe = socket.socket(fileno=transport.get_extra_info("socket").fileno())
    try:
        return not probe.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        probe.detach()


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
