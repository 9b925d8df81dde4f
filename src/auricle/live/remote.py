"""A front-end's side: live streams and files that another process recognises; see `live.host` for that one."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auricle.errors import AuricleError, CancelledError, EngineAbsentError, EngineCrashedError, EngineError
from auricle.live.admission import Load
from auricle.live.events import Failed
from auricle.live.wire import LENGTH, EventReader, Link, decode, encode, is_last

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from auricle.audio import Audio
    from auricle.engines.contract import ModelInfo, TranscribeOptions
    from auricle.live.engine import Deliver
    from auricle.live.stream import LiveStream
    from auricle.live.wire import Message
    from auricle.transcript import Transcript

AHEAD_S, CHUNKS_AHEAD = 2.0, 4
"""So much of a stream, or so many chunks, may be on the way to the engine; more waits where its session sees it."""
RETRY_S = 0.1
POLL_S = 0.05
GONE, ABSENT = "the engine process ended", "the engine process is not there"
COME_BACK = "it is started again; try again in a few seconds"


@dataclass(slots=True)
class _Far:
    """A stream in the other process: samples that were sent and that were taken there."""

    stream: LiveStream
    number: int
    opened: asyncio.Future[None]
    reader: EventReader = field(default_factory=EventReader)
    sent: int = 0
    taken: int = 0


class RemoteEngine:
    """Steps streams in the process that listens at `path`; connects again by itself when that process is replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._link: Link | None = None
        self._numbers = itertools.count()
        self._by_stream: dict[LiveStream, _Far] = {}
        self._by_number: dict[int, _Far] = {}
        self._load = Load(0, 0.0, 0.0)
        self._capacity: dict[int, int | None] = {}
        self._deliver: Deliver
        self._connecting: asyncio.Task[None]
        self._over = asyncio.Event()
        self._on: dict[str, Callable[..., None]] = {
            "opened": self._opened,
            "event": self._event,
            "taken": self._taken,
            "load": self._loaded,
        }

    @property
    def alive(self) -> bool:
        """Whether the engine's process is there."""
        return self._link is not None

    def start(self, deliver: Deliver) -> None:
        """Connect, now or as soon as that is possible."""
        self._deliver = deliver
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def add(self, stream: LiveStream) -> None:
        """Open a stream there; raises what it is refused with, EngineCrashedError when the process is not there."""
        if self._link is None:
            raise EngineAbsentError(ABSENT, None, COME_BACK)
        number = next(self._numbers)
        far = _Far(stream, number, asyncio.get_running_loop().create_future())
        self._by_stream[stream] = self._by_number[number] = far
        self._link.tell("open", number, stream.options, stream.endpointer.rules, stream.every_partial)
        await far.opened

    def ready(self, stream: LiveStream) -> None:
        """Send what there is room for; the rest follows when the engine has taken some."""
        if (far := self._by_stream.get(stream)) is not None:
            self._send(far)

    def remove(self, stream: LiveStream) -> None:
        """Give the stream's place back."""
        if (far := self._by_stream.get(stream)) is not None and self._link is not None:
            self._forget(far)
            self._link.tell("remove", far.number)

    def load(self) -> Load:
        """Return what the engine told last, a fifth of a second ago or less."""
        return self._load

    def capacity(self, chunk_ms: int) -> int | None:
        """Return what the engine told last."""
        return self._capacity.get(chunk_ms)

    async def stop(self) -> None:
        """Leave the engine to the others; streams that are left are told."""
        self._connecting.cancel()
        self._fail(EngineError("the server is shutting down", None, "connect again"))
        if self._link is not None:
            self._link.end()

    async def _connect(self) -> None:
        """Keep a connection to the engine's process."""
        loop = asyncio.get_running_loop()
        while True:
            self._over.clear()
            with suppress(OSError):
                _, link = await loop.create_unix_connection(lambda: Link(self._hear, self._lost), str(self._path))
                self._link = link
                link.tell("live")
                await self._over.wait()
            await asyncio.sleep(RETRY_S)

    def _lost(self, _: Link) -> None:
        self._link, self._load = None, Load(0, 0.0, 0.0)
        self._over.set()
        self._fail(EngineCrashedError(GONE, None, COME_BACK))

    def _hear(self, _: Link, message: Message) -> None:
        kind, *values = message
        self._on[kind](*values)

    def _send(self, far: _Far) -> None:
        buffer = far.stream.buffer
        most = max(AHEAD_S * far.stream.rate, CHUNKS_AHEAD * buffer.chunk)
        while self._link is not None and far.sent - far.taken < most:
            if (taken := buffer.take()) is None:
                return
            far.sent += len(taken.samples)
            self._link.tell("audio", far.number, taken.samples.tobytes(), taken.since_s, taken.mark)
            if not taken.more:
                return

    def _opened(self, number: int, error: AuricleError | None) -> None:
        if (far := self._by_number.get(number)) is None or far.opened.done():
            return
        if error is None:
            far.opened.set_result(None)
        else:
            self._forget(far)
            far.opened.set_exception(error)

    def _event(self, number: int, packed: Message) -> None:
        if (far := self._by_number.get(number)) is None:
            return
        event = far.reader.read(packed)
        if not far.opened.done():
            far.opened.set_result(None)  # the stream ended in the instant in which it was opened
        if is_last(event):
            self._forget(far)
        self._deliver([(far.stream, event)])

    def _taken(self, taken: dict[int, int]) -> None:
        for number, samples in taken.items():
            if (far := self._by_number.get(number)) is not None:
                far.taken = samples
                self._send(far)

    def _loaded(self, load: Load, capacity: dict[int, int | None]) -> None:
        self._load, self._capacity = load, capacity

    def _forget(self, far: _Far) -> None:
        self._by_stream.pop(far.stream, None)
        self._by_number.pop(far.number, None)

    def _fail(self, error: AuricleError) -> None:
        """Tell all streams, those that are still being opened too."""
        for far in list(self._by_number.values()):
            self._forget(far)
            if not far.opened.done():
                far.opened.set_exception(error)
            else:
                self._deliver([(far.stream, Failed(error))])


class RemoteRecognizer:
    """A recogniser in the process that listens at `path`; each request is a connection of its own.

    Waits at first, up to `patience_s`, until that process is there.
    """

    def __init__(self, path: Path, patience_s: float = 0.0) -> None:
        self._path = path
        until_s = time.monotonic() + patience_s
        while True:
            try:
                self._info: ModelInfo = self._ask(("info",))
            except EngineCrashedError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(RETRY_S)
            else:
                return

    @property
    def info(self) -> ModelInfo:
        """What is loaded there."""
        return self._info

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Recognise recordings there; raises what the engine raises, EngineCrashedError when its process ends."""
        transcripts: list[Transcript] = self._ask(("transcribe", list(batch), options), cancel)
        return transcripts

    def unload(self) -> None:
        """Do nothing: the model belongs to the other process."""

    def _ask(self, message: Message, cancel: threading.Event | None = None) -> Any:
        """Return the answer to one request; to close the connection gives the request up."""
        with _crash_is_told(), socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self._path))
            except OSError as error:
                raise EngineAbsentError(ABSENT, error.strerror, COME_BACK) from error
            connection.settimeout(POLL_S)
            _send(connection, encode([message]), cancel)
            (length,) = LENGTH.unpack(_receive(connection, LENGTH.size, cancel))
            ((_, answer),) = decode(_receive(connection, length, cancel))
        if isinstance(answer, AuricleError):
            raise answer
        return answer


def _send(connection: socket.socket, data: bytes, cancel: threading.Event | None) -> None:
    sent = 0
    while sent < len(data):
        _check(cancel)
        with suppress(TimeoutError):
            sent += connection.send(memoryview(data)[sent:])


def _check(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise CancelledError("the work was cancelled")


def _receive(connection: socket.socket, size: int, cancel: threading.Event | None) -> bytearray:
    received = bytearray()
    while len(received) < size:
        _check(cancel)
        try:
            data = connection.recv(min(size - len(received), 1 << 20))
        except TimeoutError:
            continue
        if not data:
            raise ConnectionResetError
        received += data
    return received


@contextmanager
def _crash_is_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineCrashedError(GONE, error.strerror, COME_BACK) from error
