"""How processes of one server talk over a Unix socket: frames that hold many messages, and events in few bytes.

A frame is its length (8 bytes, little-endian) and a pickled list of messages, each a tuple that begins with its kind.
The socket lies in a folder that only its owner may enter, so both ends are this program.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import struct
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from auricle.errors import AuricleError, EngineError
from auricle.live.events import Failed, Final, Partial
from auricle.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Callable

    from auricle.live.events import Event

LENGTH = struct.Struct("<Q")
MOST_BYTES = 1 << 36
GATHER_S = 0.004
"""Least time between two writes on one link: messages gather meanwhile, and the first after a pause goes at once."""
WORD_FIELDS = attrgetter("text", "start", "end", "confidence", "speaker")
log = logging.getLogger("auricle.live")

_GETTERS = {kind: attrgetter(*(field.name for field in fields(kind))) for kind in (Partial, Final)}

Message = tuple[Any, ...]


def encode(messages: list[Message]) -> bytes:
    """Return the frame of some messages."""
    payload = pickle.dumps(messages, protocol=pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(payload)) + payload


def decode(payload: bytes | bytearray | memoryview) -> list[Message]:
    """Return the messages of a frame without its length."""
    messages: list[Message] = pickle.loads(payload)  # noqa: S301  both ends are this program
    return messages


class Link(asyncio.Protocol):
    """One end of a connection. `hear` is called with each message; one that cannot be dealt with ends the link.

    `ended` is called once, when the connection is over. Both, and all methods, belong to the event loop.
    """

    def __init__(self, hear: Callable[[Link, Message], None], ended: Callable[[Link], None]) -> None:
        self._hear = hear
        self._ended = ended
        self._received = bytearray()
        self._waiting: list[Message] = []
        self._loop = asyncio.get_running_loop()
        self._next_s = 0.0
        self._is_over = False
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own classes are not asyncio's

    def data_received(self, data: bytes) -> None:
        """Hand over the messages of all frames that are whole."""
        self._received += data
        try:
            while (frame := self._frame()) is not None:
                for message in frame:
                    self._hear(self, message)
        except Exception:
            log.exception("a process of this server sent what cannot be read")
            self.abort()

    def connection_lost(self, _: Exception | None) -> None:
        """Tell that it is over."""
        self._is_over = True
        self._ended(self)

    def tell(self, *message: Any) -> None:
        """Send a message with others that come within the next few milliseconds."""
        self._waiting.append(message)
        if len(self._waiting) == 1:
            now_s = self._loop.time()
            if now_s >= self._next_s:
                self._next_s = now_s + GATHER_S
                self._loop.call_soon(self._flush)
            else:
                self._loop.call_at(self._next_s, self._flush)

    def end(self) -> None:
        """Send what waits, then close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _flush(self) -> None:
        if self._waiting and not self._is_over:
            messages, self._waiting = self._waiting, []
            self._next_s = self._loop.time() + GATHER_S
            self._transport.write(encode(messages))

    def _frame(self) -> list[Message] | None:
        """Take the messages of a frame out of what was received; None while none is whole."""
        received = self._received
        if len(received) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(received)
        if length > MOST_BYTES:
            raise EngineError("a frame is too long", f"{length} bytes")
        end = LENGTH.size + length
        if len(received) < end:
            return None
        with memoryview(received) as view:
            messages = decode(view[LENGTH.size : end])
        del received[:end]
        return messages


def portable(error: AuricleError) -> AuricleError:
    """Return the error, or one that says the same, so that it can be sent."""
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    except Exception:  # noqa: BLE001  whatever an engine put into its error
        return EngineError(error.what, str(error.value), error.remedy)
    return error if isinstance(copy, type(error)) else EngineError(error.what, str(error.value), error.remedy)


def is_last(event: Event) -> bool:
    """Tell whether no more events follow."""
    return isinstance(event, Failed) or (isinstance(event, Final) and event.mark is not None and event.mark.ends_stream)


class EventPacker:
    """Turns the events of one stream into plain tuples; words are sent once, not with every partial that has them.

    Pickling the events themselves takes 26 us for 20 words and as much to read; this 1 us each.
    """

    def __init__(self) -> None:
        self._words: tuple[Word, ...] = ()

    def pack(self, event: Event) -> Message:
        """Return the event as its class and what its fields hold."""
        if isinstance(event, Failed):
            return Failed, portable(event.error)
        if not isinstance(event, Partial | Final):
            return type(event), *_values(event)
        known, self._words = self._words, event.words
        same = len(known) if event.words[: len(known)] == known else 0
        new = [WORD_FIELDS(word) for word in event.words[same:]]
        text, _, *rest = _GETTERS[type(event)](event)
        return type(event), text, same, new, *rest


class EventReader:
    """The other end of EventPacker."""

    def __init__(self) -> None:
        self._words: tuple[Word, ...] = ()

    def read(self, packed: Message) -> Event:
        """Return the event."""
        kind, *values = packed
        if issubclass(kind, Partial | Final):
            text, same, new, *rest = values
            self._words = (*self._words[:same], *(Word(*word) for word in new))
            values = [text, self._words, *rest]
        event: Event = kind(*values)
        return event


def _values(event: Event) -> list[Any]:
    return [getattr(event, field.name) for field in fields(event)]
