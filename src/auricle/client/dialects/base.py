"""What a WebSocket dialect is: what to send for audio, and what the answers mean. It does no input or output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlencode

from auricle.client.errors import ServerError
from auricle.client.events import Heard

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auricle.client.connection import Address

WireEncoding = Literal["s16le", "f32le"]
EXCERPT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server and how it is asked; can be pickled.

    `endpoints` says whether the server ends utterances by itself, None leaves that to it. `query` is added to the
    address. A dialect raises UsageError for what it cannot ask for. A stream that does not open within `connect_s`, or
    not end within `finish_s` after its audio, has failed.
    """

    url: str
    dialect: str
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    model: str | None = None
    language: str | None = None
    endpoints: bool | None = None
    rate: int | None = None
    connect_s: float = 20.0
    finish_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Ready:
    """The server takes audio."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The server has said all that there is to say."""


Signal = Heard | Ready | Ended


class Dialect(Protocol):
    """One stream's side of a protocol. `ready_at_open` tells that audio may follow the handshake at once."""

    encoding: WireEncoding
    default_rate: int
    ready_at_open: bool

    def __init__(self, target: Target, rate: int) -> None: ...

    def address(self) -> Address:
        """Say where to connect and how."""
        ...

    def opening(self) -> Sequence[str | bytes]:
        """Return what is sent first."""
        ...

    def audio(self, chunk: bytes) -> str | bytes:
        """Return the message for samples in the encoding of the dialect."""
        ...

    def ending(self) -> Sequence[str | bytes]:
        """Return what says that no more audio follows."""
        ...

    def read(self, message: str | bytes) -> Iterable[Signal]:
        """Say what a message means; raises RefusedError or ServerError when it is an error or is malformed."""
        ...


def with_query(target: Target, **more: str) -> str:
    """Return the address with the query of the target and `more`."""
    query = urlencode({**more, **dict(target.query)})
    return f"{target.url}{'&' if '?' in target.url else '?'}{query}" if query else target.url


def parse(message: str | bytes) -> dict[str, Any]:
    """Return the JSON object in a message; raises ServerError when there is none."""
    try:
        value = json.loads(message)
    except ValueError as error:
        raise malformed(message) from error
    if not isinstance(value, dict):
        raise malformed(message)
    return value


def malformed(message: object) -> ServerError:
    """Return the error for a message that is not of the dialect."""
    return ServerError("the server's message is not of this dialect", repr(message)[:EXCERPT], "check the dialect")
