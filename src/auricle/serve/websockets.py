"""What the live dialects share: the way in, the two loops of a connection, its end, and coming back after a drop.

A connection is one reader, which awaits the session before it receives again, and one writer task; when one fails it
ends the other. A client that asked for it with `resumable=true` is told a token first, in a message of type `Session`
that also counts the samples that were received; with `resume=<token>&finals=<number it has>` it goes on there.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from starlette.websockets import WebSocketDisconnect

from auricle.errors import AuricleError, EngineError, UnsupportedError
from auricle.live.admission import RETRY_AFTER_S, RefusedError
from auricle.live.hub import ResumeError
from auricle.live.scheduler import Failed, Final
from auricle.live.session import SessionEndedError
from auricle.serve.auth import AuthError
from auricle.serve.live_audio import PIECE_BYTES, pieces

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from starlette.websockets import WebSocket

    from auricle.live.hub import LiveHub
    from auricle.live.scheduler import Partial
    from auricle.live.session import Session, SessionLimits
    from auricle.serve.live_audio import LiveDecoder
    from auricle.serve.query import LiveQuery
    from auricle.serve.service import Service

SEND_S = 30.0
"""A client that takes nothing for so long is dropped."""
CLOSE_S = 5.0
NORMAL = 1000
KEPT_FINALS = 1000
MAX_REASON_BYTES = 123
"""The most that a WebSocket close frame holds."""


class MessageError(AuricleError, ValueError):
    """One message of the client cannot be honoured; the stream goes on."""


class _GoneError(Exception):
    """The client is gone, or takes nothing."""


@dataclass(frozen=True, slots=True)
class Closing:
    """How a connection ends: last messages, then the close code, after `linger_s` unless the client closes first."""

    messages: tuple[str, ...] = ()
    code: int = NORMAL
    reason: str = ""
    linger_s: float = 0.0


class Dialect(Protocol):
    """One stream in the words of a vendor.

    `decoder` turns its binary messages into samples; one without any ends the stream where `empty_ends`.
    """

    decoder: LiveDecoder
    empty_ends: bool

    async def hear(self, text: str, session: Session) -> None:
        """Act on a text message; raises MessageError for one that is not of the dialect."""
        ...

    def tell(self, event: Partial | Final) -> Sequence[str]:
        """Return the messages for an event."""
        ...

    def complain(self, error: AuricleError, text: str | None) -> str:
        """Return the message for an error that the stream survives; `text` is the message that caused it, if any."""
        ...

    def closing(self, error: AuricleError | None) -> Closing:
        """Return how to end, after the last final or for an error."""
        ...


@dataclass(slots=True)
class Call:
    """A live session with its client; kept on the session while the client is away, when it may come back.

    `options` is the query that it was opened with, `finals` what the client was told of the last finals.
    """

    session: Session
    dialect: Dialect
    options: Counter[tuple[str, str]]
    resumable: bool
    taken_over: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    finals: deque[Sequence[str]] = field(default_factory=lambda: deque(maxlen=KEPT_FINALS))
    told: int = 0

    def tell(self, event: Partial | Final) -> Sequence[str]:
        """Return the messages for an event, and remember those of a final."""
        messages = self.dialect.tell(event)
        if self.resumable and isinstance(event, Final):
            self.finals.append(messages)
            self.told += 1
        return messages

    def greeting(self, finals: int) -> Sequence[str]:
        """Return what a client that may come back is told first: where it stands, then the finals that it lacks."""
        if not self.resumable:
            return ()
        where = {"type": "Session", "token": self.session.token, "received": self.session.received, "finals": self.told}
        again = list(self.finals)[len(self.finals) - (self.told - finals) :]
        return (json.dumps(where), *(message for messages in again for message in messages))


def live_hub(service: Service) -> LiveHub:
    """Return the hub; raises UnsupportedError when the model serves no live streams."""
    if service.hub is None:
        name = service.recognizer.info.name
        raise UnsupportedError(f"{name} serves no live streams", None, "use POST /v1/audio/transcriptions")
    return service.hub


async def resume(
    hub: LiveHub, own: LiveQuery, options: Counter[tuple[str, str]], kind: type[Dialect], decoder: LiveDecoder
) -> Call:
    """Return the call that a client left; raises ResumeError when it cannot go on without loss.

    A connection that is not yet known to be dead is dropped. The client goes on after the last whole sample, hence a
    new `decoder`.
    """
    token, finals = own.resume or "", own.finals
    session = hub.find(token)
    if session is not None and isinstance(session.carried, Call):
        session.carried.taken_over.set()
        await session.carried.left.wait()
    session = hub.resume(token)
    call = session.carried
    if not isinstance(call, Call) or type(call.dialect) is not kind or call.options != options:
        hub.detach(session)
        raise ResumeError("the stream was opened with another query", None, "repeat that of the first connection")
    if not 0 <= call.told - finals <= len(call.finals):
        hub.detach(session)
        raise ResumeError("these finals are not kept", f"{finals} of {call.told}", "open a new session")
    call.dialect.decoder = decoder
    return call


def refusal(error: AuricleError) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return HTTP status, headers and facts for an error before the upgrade."""
    if isinstance(error, RefusedError):
        load = error.load
        observed = {"streams": load.streams, "duty": load.duty, "duty_with_one_more": load.duty_with_one_more}
        facts = {"limit": error.limit, "observed": observed, "retry_after": error.retry_after_s}
        return 503, {"Retry-After": str(error.retry_after_s)}, facts
    if isinstance(error, AuthError):
        return 401, {"WWW-Authenticate": "Bearer"}, {}
    if isinstance(error, ResumeError):
        return 404, {}, {}
    if isinstance(error, EngineError):
        return 503, {"Retry-After": str(RETRY_AFTER_S)}, {"retry_after": RETRY_AFTER_S}
    return 400, {}, {}


def _limit_headers(limits: SessionLimits) -> list[tuple[bytes, bytes]]:
    """Return the limits of a session as headers of the upgrade, in seconds; one that is off is left out."""
    named = {b"auricle-idle-limit": limits.idle_s, b"auricle-duration-limit": limits.duration_s}
    return [(name, f"{seconds:g}".encode()) for name, seconds in named.items() if seconds is not None]


async def end(session: Session, decoder: LiveDecoder) -> None:
    """Give the session what the decoder still holds and end it; a second time does nothing."""
    if session.ending:
        return
    if len(samples := decoder.finish()):
        await session.feed(samples)
    session.end()


async def converse(
    websocket: WebSocket,
    hub: LiveHub,
    call: Call,
    finals: int,
    *,
    subprotocol: str | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Accept the connection, telling the limits and `headers`, and serve it until it ends.

    `finals` is how many the client has.
    """
    code, may_return = None, call.resumable
    call.taken_over.clear()
    call.left.clear()
    try:
        with _leaving():
            await websocket.accept(subprotocol, [*headers, *_limit_headers(call.session.limits)])
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(_write(websocket, call, finals))]
            if call.resumable:
                others.append(tasks.create_task(_watch(call)))
            code = await _read(websocket, call)
            for task in others:
                task.cancel()
    except* _GoneError:
        pass
    except* AuricleError as errors:
        may_return = False
        call.session.close()
        error = next(error for error in errors.exceptions if isinstance(error, AuricleError))
        await _close(websocket, call.dialect.closing(error))
    finally:
        if may_return and (call.session.ended or code != NORMAL):
            hub.detach(call.session)
        else:
            call.session.close()
        call.left.set()


async def _watch(call: Call) -> None:
    """Give the connection up when its client comes back on another."""
    await call.taken_over.wait()
    raise _GoneError


async def _read(websocket: WebSocket, call: Call) -> int | None:
    """Take messages until the client is gone, and return its close code."""
    session, dialect, decoder = call.session, call.dialect, call.dialect.decoder
    while True:
        message = await websocket.receive()
        data, text = message.get("bytes"), message.get("text")
        try:
            if data:
                for piece in (data,) if len(data) <= PIECE_BYTES else pieces(data):
                    if len(samples := decoder.feed(piece)):
                        await session.feed(samples)
            elif text is not None:
                await dialect.hear(text, session)
            elif data is None:
                return message.get("code")
            elif dialect.empty_ends:
                await end(session, decoder)
        except (MessageError, SessionEndedError) as error:
            if not session.ended:
                await _send(websocket, dialect.complain(error, text))


async def _write(websocket: WebSocket, call: Call, finals: int) -> None:
    """Send what is heard; at the end of the session close the connection."""
    for message in call.greeting(finals):
        await _send(websocket, message)
    async for event in call.session.events():
        if isinstance(event, Failed):
            raise event.error
        for message in call.tell(event):
            await _send(websocket, message)
    await _close(websocket, call.dialect.closing(None))


async def _send(websocket: WebSocket, text: str) -> None:
    """Send a message; raises _GoneError when nobody takes it."""
    with _leaving():
        async with asyncio.timeout(SEND_S):
            await websocket.send_text(text)


@contextmanager
def _leaving() -> Iterator[None]:
    """Turn what an ASGI server raises for a client that is gone into _GoneError."""
    try:
        yield
    except (OSError, WebSocketDisconnect, RuntimeError) as error:  # RuntimeError: it has closed the socket by itself
        raise _GoneError from error


async def _close(websocket: WebSocket, closing: Closing) -> None:
    reason = closing.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
    with suppress(_GoneError), _leaving():
        for message in closing.messages:
            await _send(websocket, message)
        await asyncio.sleep(closing.linger_s)
        async with asyncio.timeout(CLOSE_S):
            await websocket.close(closing.code, reason)
