"""WebSockets behind uvicorn: its request to upgrade is taken over, and messages then come and go by plain calls.

Until the application accepts, nothing more is read. From then on the connection belongs to picows, whose parser is C
and makes no task, queue or dictionary for a message: measured in docs/log.md against the WebSockets of ASGI servers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol, cast

from picows import WSListener, WSMsgType, WSProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from picows import WSFrame, WSTransport

MAX_MESSAGE_BYTES = 24 * 1024 * 1024
"""The largest message: 15 MiB of audio in base64, in JSON."""
CLOSE_S = 5.0
MAX_REASON_BYTES = 123
"""The most that a close frame holds."""
NORMAL, RESTART, TOO_BIG, BAD_TEXT, BROKEN = 1000, 1012, 1009, 1007, 1002
NO_CODE, ABNORMAL = 1005, 1006
log = logging.getLogger("auricle.serve")


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


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise WSProtocolError(BAD_TEXT, "text that is not UTF-8") from None
