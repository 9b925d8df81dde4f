"""The engine process's side: one recogniser for many front-end processes, which come over a Unix socket.

The event loop reads and writes; the engine thread steps live streams; files are recognised in a few threads more. What
front-ends say is `open`, `audio`, `remove` for live streams, and, on a connection of its own for each request, `info`
or `transcribe`: such a connection is answered once, and closing it first gives the request up.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.errors import AuricleError, EngineError
from auricle.live.buffer import AudioBuffer, Mark, Taken
from auricle.live.stream import make_stream
from auricle.live.wire import EventPacker, Link, is_last, portable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from auricle.audio import Audio
    from auricle.engines.contract import Recognizer, StreamOptions, TranscribeOptions
    from auricle.live.admission import Load
    from auricle.live.endpoint import EndpointRules
    from auricle.live.engine import LiveEngine
    from auricle.live.events import Event
    from auricle.live.stream import LiveStream
    from auricle.live.wire import Message

STATUS_S = 0.2
"""How often front-ends are told the load."""
log = logging.getLogger("auricle.live")


class _TakenBuffer(AudioBuffer):
    """A buffer that notes each take, so that its front-end learns that there is room again."""

    def __init__(self, like: AudioBuffer, note: Callable[[], None]) -> None:
        super().__init__(like.chunk, like.first_short)
        self._note = note

    def take(self) -> Taken | None:
        taken = super().take()
        if taken is not None:
            self._note()
        return taken


class _Stream:
    """A live stream, the front-end that it belongs to, and the number that it has there."""

    def __init__(self, front: _Front, number: int, live: LiveStream) -> None:
        self.front = front
        self.number = number
        self.live = live
        self.packer = EventPacker()


class _Front:
    """One connection of a front-end, with its live streams by number and the requests that are under way."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.streams: dict[int, _Stream] = {}
        self.cancel = threading.Event()
        self.is_live = False


class EngineHost:
    """Serves `recognizer`; live streams through `engine`, None when it has none. Belongs to one event loop."""

    def __init__(self, recognizer: Recognizer, engine: LiveEngine | None, files_at_once: int) -> None:
        self._recognizer = recognizer
        self._engine = engine
        self._threads = ThreadPoolExecutor(files_at_once, thread_name_prefix="auricle-file")
        self._fronts: dict[Link, _Front] = {}
        self._streams: dict[LiveStream, _Stream] = {}
        self._taken: deque[_Stream] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._teller: asyncio.Task[None] | None = None
        self._server: asyncio.Server
        self._on: dict[str, Callable[..., None]] = {
            "audio": self._audio,
            "live": self._live,
            "open": lambda front, *request: self._run(front, self._open(front, *request)),
            "remove": self._remove,
            "info": lambda front: self._answer(front, self._recognizer.info),
            "transcribe": lambda front, *request: self._run(front, self._transcribe(front, *request)),
        }

    async def serve(self, path: Path) -> None:
        """Listen on a Unix socket at `path` from now on."""
        loop = asyncio.get_running_loop()
        if self._engine is not None:
            self._teller = loop.create_task(self._tell_load(self._engine))
        self._server = await loop.create_unix_server(lambda: Link(self._hear, self._gone), path)

    async def stop(self) -> None:
        """Close all connections and end; the engine is left as it is."""
        if self._teller is not None:
            self._teller.cancel()
        self._server.close()
        for link in list(self._fronts):
            link.abort()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    def deliver(self, out: list[tuple[LiveStream, Event]]) -> None:
        """Send what a tick brought, and how much of each stream's audio it took."""
        for live, event in out:
            if (stream := self._streams.get(live)) is None:
                continue
            stream.front.link.tell("event", stream.number, stream.packer.pack(event))
            if is_last(event):
                self._forget(stream)
        taken: dict[Link, dict[int, int]] = {}
        for stream in (self._taken.popleft() for _ in range(len(self._taken))):
            buffer = stream.live.buffer
            taken.setdefault(stream.front.link, {})[stream.number] = buffer.received - buffer.samples
        for link, samples in taken.items():
            link.tell("taken", samples)

    def _hear(self, link: Link, message: Message) -> None:
        if (front := self._fronts.get(link)) is None:
            front = self._fronts[link] = _Front(link)
        kind, *values = message
        self._on[kind](front, *values)

    def _gone(self, link: Link) -> None:
        """Give back all that a front-end held."""
        if (front := self._fronts.pop(link, None)) is not None:
            front.cancel.set()
            for stream in list(front.streams.values()):
                self._remove(front, stream.number)

    def _live(self, front: _Front) -> None:
        front.is_live = True
        if self._engine is not None:
            front.link.tell("load", *self._state(self._engine))

    def _audio(self, front: _Front, number: int, data: bytes, since_s: float, mark: Mark | None) -> None:
        if (stream := front.streams.get(number)) is None or self._engine is None:
            return  # it has just failed, or was removed
        buffer = stream.live.buffer
        is_ready = bool(data) and buffer.append(np.frombuffer(data, np.float32), since_s)
        if mark is not None:
            is_ready |= buffer.mark(mark, since_s)
        if is_ready:
            self._engine.ready(stream.live)

    async def _open(
        self, front: _Front, number: int, options: StreamOptions, rules: EndpointRules, every_partial: bool
    ) -> None:
        live = make_stream(self._recognizer, options, rules, every_partial=every_partial)
        stream = _Stream(front, number, live)
        live.buffer = _TakenBuffer(live.buffer, lambda: self._taken.append(stream))
        front.streams[number] = self._streams[live] = stream
        error: AuricleError | None = None
        try:
            if self._engine is not None:
                await self._engine.add(live)
        except AuricleError as refusal:
            error = portable(refusal)
            self._forget(stream)
        front.link.tell("opened", number, error)

    def _remove(self, front: _Front, number: int) -> None:
        if (stream := front.streams.get(number)) is not None and self._engine is not None:
            self._forget(stream)
            self._engine.remove(stream.live)

    def _forget(self, stream: _Stream) -> None:
        stream.front.streams.pop(stream.number, None)
        self._streams.pop(stream.live, None)

    async def _transcribe(self, front: _Front, batch: Sequence[Audio], options: TranscribeOptions) -> None:
        transcribe = self._recognizer.transcribe
        loop = asyncio.get_running_loop()
        try:
            self._answer(front, await loop.run_in_executor(self._threads, transcribe, batch, options, front.cancel))
        except AuricleError as error:
            self._answer(front, portable(error))
        except Exception as error:  # noqa: BLE001  the boundary of the process: the caller gets it as an EngineError
            self._answer(front, EngineError("unexpected error in the engine", repr(error)))

    def _answer(self, front: _Front, value: object) -> None:
        front.link.tell("answer", value)
        front.link.end()

    async def _tell_load(self, engine: LiveEngine) -> None:
        while True:
            await asyncio.sleep(STATUS_S)
            state = self._state(engine)
            for front in self._fronts.values():
                if front.is_live:
                    front.link.tell("load", *state)

    def _state(self, engine: LiveEngine) -> tuple[Load, dict[int, int | None]]:
        streaming = self._recognizer.info.streaming
        sizes = () if streaming is None else streaming.chunk_ms
        return engine.load(), {chunk_ms: engine.capacity(chunk_ms) for chunk_ms in sizes}

    def _run(self, front: _Front, work: Coroutine[Any, Any, None]) -> None:
        """Go on with a request; one that cannot be dealt with ends its connection."""

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("a process of this server asked for what cannot be done", exc_info=error)
                front.link.abort()

        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(done)
