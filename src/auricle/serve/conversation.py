"""A call on one connection: messages in at the pace of the engine, what is heard out, and how it ends."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from auricle.errors import AuricleError
from auricle.live.events import Failed, Final
from auricle.live.session import FULL_S, LimitError, SessionEndedError
from auricle.serve.channel import NORMAL
from auricle.serve.live_audio import PIECE_BYTES, pieces
from auricle.serve.upgrade import GoneError
from auricle.serve.websockets import MessageError, end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from auricle.engines.contract import StreamOptions
    from auricle.live.endpoint import EndpointRules
    from auricle.live.hub import LiveHub
    from auricle.live.session import SessionLimits
    from auricle.serve.channel import Channel
    from auricle.serve.upgrade import Opening
    from auricle.serve.websockets import Call

SEND_S = 30.0
"""A client that takes nothing for so long is dropped."""
INTERNAL = 1011


async def converse(
    opening: Opening,
    hub: LiveHub,
    call: Call,
    greeting: Sequence[str],
    *,
    subprotocol: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> None:
    """Accept the connection, telling the limits and `headers`, and serve it until it ends; `greeting` comes first."""
    talk = Conversation(hub, call)
    try:
        limits = _limit_headers(call.session.limits)
        talk.begin(opening.accept(talk, subprotocol, [*headers, *limits]), greeting)
        await talk.over
    except GoneError:
        pass
    finally:
        talk.leave()


def _limit_headers(limits: SessionLimits) -> list[tuple[str, str]]:
    """Return the limits of a session as headers of the upgrade, in seconds; one that is off is left out."""
    named = {"auricle-idle-limit": limits.idle_s, "auricle-duration-limit": limits.duration_s}
    return [(name, f"{seconds:g}") for name, seconds in named.items() if seconds is not None]


class Conversation:
    """A call on one connection: audio and messages in, at the pace of the engine; what is heard out.

    It makes no task: everything happens in calls from the connection, from the session and from timers. `over` is done
    when the connection is, and the session has been closed or kept for a client that may come back.
    """

    def __init__(self, hub: LiveHub, call: Call) -> None:
        self.session = call.session
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hub = hub
        self._call = call
        self._channel: Channel | None = None
        self._inbox: deque[str | bytes] = deque()
        self._held = False
        self._crowded = False
        self._busy: asyncio.Future[None] | None = None
        self._end: AuricleError | None = None
        self._is_closing = False
        self._slow: asyncio.TimerHandle | None = None

    def begin(self, channel: Channel, greeting: Sequence[str]) -> None:
        """Start on an accepted connection."""
        self._channel = channel
        self._call.talk, self._call.known = self, True
        for message in greeting:
            channel.send(message)
        self.session.news = self.news
        self.news()

    def leave(self) -> None:
        """Give the connection up at once, as if the client had dropped it."""
        if self._channel is not None:
            self._channel.abort()
        self.gone(INTERNAL)

    def message(self, message: str | bytes) -> None:
        """Take a message of the client, now or when there is room."""
        if self._is_closing:
            return
        if self._held or self._busy is not None or len(message) > PIECE_BYTES:
            self._inbox.extend(pieces(message) if isinstance(message, bytes) else (message,))
            self._pump()
            return
        self._take(message)
        if self._is_full():
            self._hold()

    def room(self) -> None:
        """Go on telling a client that reads again."""
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None
        self._crowded = False
        self.news()
        self._pump()

    def gone(self, code: int) -> None:
        """Keep the session for a client that may come back, or close it; who was never let in cannot come back."""
        if self.over.done():
            return
        session, call = self.session, self._call
        self._is_closing = True
        session.news = _nothing
        call.talk = None
        if self._busy is not None:
            self._busy.cancel()
        if self._slow is not None:
            self._slow.cancel()
        if call.resumable and call.known and self._end is None and (session.ended or code != NORMAL):
            self._hub.detach(session)
        else:
            session.close()
        self._channel = None
        self.over.set_result(None)

    def news(self) -> None:
        """Tell what was heard, unless the client does not read; then how it ends, when it has ended."""
        channel = self._channel
        if channel is None or self._is_closing:
            return
        try:
            while not channel.full and (event := self.session.take()) is not None:
                if isinstance(event, Failed):
                    self._end = event.error
                    continue
                if self._end is not None and isinstance(event, Final) and not event.text:
                    continue  # the error says it all
                for message in self._call.tell(event):
                    channel.send(message)
        except LimitError as error:
            self.finish(error)
            return
        if channel.full:
            self._expect_room(channel)
        elif self.session.ended and self._busy is None:
            self._close()

    def finish(self, error: AuricleError) -> None:
        """End the session because of an error, after what has come was told."""
        self._end = self._end or error
        self._inbox.clear()
        if self.session.ended:
            self.news()
        elif not self.session.ending:
            self.session.end()

    async def reopen(self, options: StreamOptions, endpoints: EndpointRules) -> None:
        """Open the session anew in the same place, before audio has come; raises what `LiveHub.open` raises."""
        self.session.news = _nothing
        self.session.close()
        self._call.session = self.session = await self._hub.open(options, endpoints)
        self.session.news = self.news

    def say(self, message: str) -> None:
        """Send a message that answers the client; one that does not read its answers is not read either."""
        if (channel := self._channel) is not None:
            channel.send(message)
            if channel.full:
                self._crowded = True
                self._expect_room(channel)

    def _expect_room(self, channel: Channel) -> None:
        """Let go of a client that takes nothing for too long."""
        if self._slow is None:
            patience_s = min(SEND_S, self.session.limits.idle_s or SEND_S)
            self._slow = asyncio.get_running_loop().call_later(patience_s, channel.abort)

    def _take(self, message: str | bytes) -> None:
        dialect, session = self._call.dialect, self.session
        try:
            if isinstance(message, str):
                if (waiting := dialect.hear(message, self)) is not None:
                    self._await(waiting, message)
            elif dialect.decoder is None:
                raise MessageError("binary messages are not part of this protocol", f"{len(message)} bytes")
            elif message:
                if len(samples := dialect.decoder.feed(message)):
                    session.push(samples)
            elif dialect.empty_ends:
                end(session, dialect.decoder)
        except AuricleError as error:
            self._object(error, message)

    def _object(self, error: AuricleError, message: str | bytes) -> None:
        """Tell the client what is wrong with its message, or end the stream where it cannot go on."""
        if isinstance(error, MessageError | SessionEndedError):
            if not self.session.ended and self._end is None:
                self.say(self._call.dialect.complain(error, message if isinstance(message, str) else None))
        else:
            self.finish(error)

    def _await(self, waiting: Awaitable[None], message: str) -> None:
        """Take no more until a message is dealt with."""
        self._busy = task = asyncio.ensure_future(waiting)
        task.add_done_callback(partial(self._dealt_with, message))
        self._hold()

    def _dealt_with(self, message: str, task: asyncio.Future[None]) -> None:
        self._busy = None
        if task.cancelled():
            return
        try:
            task.result()
        except AuricleError as error:
            self._object(error, message)
        self.news()
        self._pump()

    def _hold(self) -> None:
        """Take no more until there is room."""
        if not self._held and self._channel is not None and not self._is_closing:
            self._held = True
            self._channel.hold()
            asyncio.get_running_loop().call_later(FULL_S, self._pump)

    def _is_busy(self) -> bool:
        return self._busy is not None

    def _is_full(self) -> bool:
        return self._crowded or self.session.full

    def _pump(self) -> None:
        """Take what waits while there is room, then read again; else look again in a moment."""
        if self._is_closing or self._channel is None or self._is_busy():
            return
        while self._inbox and not self._is_full():
            self._take(self._inbox.popleft())
            if self._is_busy():
                return
        if self._inbox or self._is_full():
            self._held = False
            self._hold()
        elif self._held:
            self._held = False
            self._channel.release()

    def _close(self) -> None:
        """Say the last words and close; without an error the client may close first."""
        self._is_closing = True
        channel, closing = self._channel, self._call.dialect.closing(self._end)
        if channel is None:
            return
        for message in closing.messages:
            channel.send(message)
        if closing.linger_s:
            asyncio.get_running_loop().call_later(closing.linger_s, channel.close, closing.code, closing.reason)
        else:
            channel.close(closing.code, closing.reason)


def _nothing() -> None:
    """Nobody is there to be told."""
