"""What the live dialects share: what each must say, refusals before the upgrade, and coming back after a drop.

A client that asked for it with `resumable=true` is told a token first, in a message of type `Session` that also counts
the samples that were received; with `resume=<token>&finals=<number it has>` it goes on there.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from auricle.errors import AuricleError, EngineError, UnsupportedError
from auricle.live.admission import RETRY_AFTER_S, RefusedError
from auricle.live.events import Final
from auricle.live.hub import ResumeError
from auricle.serve.auth import AuthError
from auricle.serve.channel import NORMAL

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Sequence

    from auricle.live.events import Heard
    from auricle.live.hub import LiveHub
    from auricle.live.session import Session
    from auricle.serve.conversation import Conversation
    from auricle.serve.live_audio import LiveDecoder
    from auricle.serve.query import LiveQuery
    from auricle.serve.service import Service
    from auricle.transcript import Word

KEPT_FINALS = 1000


class MessageError(AuricleError, ValueError):
    """One message of the client cannot be honoured; the stream goes on."""


@dataclass(frozen=True, slots=True)
class Closing:
    """How a connection ends: last messages, then the close code, after `linger_s` unless the client closes first."""

    messages: tuple[str, ...] = ()
    code: int = NORMAL
    reason: str = ""
    linger_s: float = 0.0


class Dialect(Protocol):
    """One stream in the words of a vendor.

    `decoder` turns its binary messages into samples, None where it has no such messages; an empty one ends the stream
    where `empty_ends`.
    """

    decoder: LiveDecoder | None
    empty_ends: bool

    def hear(self, text: str, talk: Conversation) -> Awaitable[None] | None:
        """Act on a text message; what it returns is awaited before the next message is taken.

        Raises MessageError for a message that is not of the dialect.
        """
        ...

    def tell(self, event: Heard) -> Sequence[str]:
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

    `options` is the query that it was opened with, `finals` what the client was told of the last finals, `talk` the
    connection that it is on; `known` tells that the client was let in once, so that it has its token.
    """

    session: Session
    dialect: Dialect
    options: Counter[tuple[str, str]]
    resumable: bool
    talk: Conversation | None = None
    known: bool = False
    finals: deque[Sequence[str]] = field(default_factory=lambda: deque(maxlen=KEPT_FINALS))
    told: int = 0

    def tell(self, event: Heard) -> Sequence[str]:
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


class Written:
    """What a dialect writes of each word of an utterance; words that the engine repeats are not written anew."""

    def __init__(self, write: Callable[[Word], str]) -> None:
        self._write = write
        self._words: Sequence[Word] = ()
        self._texts: list[str] = []

    def joined(self, words: Sequence[Word]) -> str:
        """Return what is written of the words, with commas between them."""
        known = len(self._words)
        same = known if words[:known] == self._words else 0
        self._texts[same:] = [self._write(word) for word in words[same:]]
        self._words = words
        return ",".join(self._texts)


def live_hub(service: Service) -> LiveHub:
    """Return the hub; raises UnsupportedError when the model serves no live streams."""
    if service.hub is None:
        name = service.recognizer.info.name
        raise UnsupportedError(f"{name} serves no live streams", None, "use POST /v1/audio/transcriptions")
    return service.hub


def resume(
    hub: LiveHub, own: LiveQuery, options: Counter[tuple[str, str]], kind: type[Dialect], decoder: LiveDecoder | None
) -> Call:
    """Return the call that a client left; raises ResumeError when it cannot go on without loss.

    A connection that is not yet known to be dead is dropped. The client goes on after the last whole sample, hence a
    new `decoder`.
    """
    token, finals = own.resume or "", own.finals
    session = hub.find(token)
    if session is not None and isinstance(session.carried, Call) and session.carried.talk is not None:
        session.carried.talk.leave()
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


def end(session: Session, decoder: LiveDecoder | None) -> None:
    """Give the session what the decoder still holds and end it; a second time does nothing."""
    if session.ending:
        return
    if decoder is not None and len(samples := decoder.finish()):
        session.push(samples)
    session.end()
