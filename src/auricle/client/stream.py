"""One stream to a server: audio by a schedule or as it comes, answers into its record."""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

from auricle.client.connection import Connection, connect
from auricle.client.dialects import HTTP, live
from auricle.client.dialects.base import Ready
from auricle.client.dialects.openai_http import upload
from auricle.client.errors import RefusedError, ServerError
from auricle.client.events import Heard, StreamRecord
from auricle.client.pacing import CLOCK, Pacer, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auricle.client.clips import Clip
    from auricle.client.dialects.base import Target
    from auricle.client.pacing import Clock

    Observer = Callable[[Heard, float], None]

CLOSE_S = 5.0
TRY_AGAIN_LATER = 1013


def ignore(heard: Heard, at_s: float) -> None:
    """Observe nothing."""
    del heard, at_s


class Stream:
    """A WebSocket stream that fills `record`; `observe` is told what was heard, and when, as it comes.

    Every method raises RefusedError or ServerError once the server has refused or failed the stream.
    """

    def __init__(self, target: Target, record: StreamRecord, observe: Observer = ignore, clock: Clock = CLOCK) -> None:
        self.record = record
        self._target = target
        self._dialect = live(target.dialect)(target, record.rate)
        self._observe = observe
        self._clock = clock
        self._connection: Connection | None = None
        self._error: RefusedError | ServerError | None = None
        self._pacer: Pacer | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._room_since_s = -math.inf
        self._ready = asyncio.Event()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connect, and wait until the server takes audio."""
        target = self._target
        self.record.connect_s = self._clock()
        self._connection = await connect(self._dialect.address(), self, target.connect_s)
        for message in self._dialect.opening():
            self._connection.send(message)
        if self._dialect.ready_at_open:
            self._get_ready()
        try:
            async with asyncio.timeout(target.connect_s):
                await self._ready.wait()
        except TimeoutError as error:
            raise ServerError("the server did not get ready", f"{target.connect_s:g} s") from error
        self._check()

    async def play(self, clip: Clip, schedule: Schedule, start_s: float) -> None:
        """Send a recording by its schedule, the first sample of which is captured at `start_s`."""
        width = len(clip.pcm) // max(clip.samples, 1)

        def send(index: int, due_s: float) -> None:
            first, end = schedule.span(index)
            self.send(clip.pcm[first * width : end * width], due_s)

        self._pacer = Pacer(schedule, start_s, send, self._clock)
        if not self._room.is_set():
            self._pacer.hold()
        try:
            await asyncio.wait([self._pacer.finished, self.over], return_when=asyncio.FIRST_COMPLETED)
            self._check()
            if self._pacer.finished.done():
                self._pacer.finished.result()
        finally:
            self._pacer.cancel()
            self._pacer = None

    def send(self, chunk: bytes, due_s: float) -> None:
        """Send samples, the last of which was captured at `due_s`."""
        self._opened().send(self._dialect.audio(chunk))
        record = self.record
        if due_s < self._room_since_s:
            record.held.append(len(record.due_s))
        record.due_s.append(due_s)
        record.sent_s.append(self._clock())

    async def room(self) -> None:
        """Wait until the server has read most of what was sent."""
        await self._room.wait()
        self._check()

    async def finish(self) -> None:
        """Say that no more audio follows, and wait until the server has said all."""
        self._check()
        for message in self._dialect.ending():
            self._opened().send(message)
        self.record.end_of_audio_s = self._clock()
        try:
            async with asyncio.timeout(self._target.finish_s):
                await asyncio.shield(self.over)
        except TimeoutError as error:
            raise ServerError("the server did not finish", f"{self._target.finish_s:g} s after the audio") from error
        self._check()

    async def close(self) -> None:
        """Say goodbye after a complete stream; let go of any other at once."""
        if self._connection is None:
            return
        if self.over.done() and self._error is None:
            await self._connection.close(CLOSE_S)
        else:
            self._connection.abort()

    def message(self, message: str | bytes) -> None:
        """Take a message of the server."""
        now_s = self._clock()
        try:
            signals = self._dialect.read(message)
        except (RefusedError, ServerError) as error:
            self._end(error)
            return
        for signal in signals:
            if isinstance(signal, Heard):
                self.record.hear(signal, now_s)
                self._observe(signal, now_s)
            elif isinstance(signal, Ready):
                self._get_ready()
            else:
                self._end(None)

    def full(self, is_full: bool) -> None:
        """Send no audio while the socket takes none."""
        if is_full:
            self._room.clear()
            if self._pacer is not None:
                self._pacer.hold()
        else:
            self._room.set()
            self._room_since_s = self._clock()
            if self._pacer is not None:
                self._pacer.release()

    def closed(self, code: int, reason: str) -> None:
        """Note that the connection is gone."""
        self.record.closed_s = self._clock()
        self.record.close_code = code
        found = f"code {code} {reason}".strip()
        if code == TRY_AGAIN_LATER and not self.record.texts:
            self._end(RefusedError("the server has no room", found))
        else:
            self._end(ServerError("the server closed the connection before the end", found))

    def _get_ready(self) -> None:
        if not self._ready.is_set():
            self.record.ready_s = self._clock()
            self._ready.set()

    def _end(self, error: RefusedError | ServerError | None) -> None:
        if not self.over.done():
            self._error = error
            self.over.set_result(None)
            self._ready.set()
            self._room.set()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _opened(self) -> Connection:
        if self._connection is None:
            raise ServerError("the stream is not open", self._target.url, "open it first")
        return self._connection


def new_record(target: Target, clip: Clip, schedule: Schedule, number: int = 0) -> StreamRecord:
    """Return the empty record of a stream to come; an upload is one chunk."""
    chunk = clip.samples if target.dialect == HTTP else schedule.chunk
    return StreamRecord(number, clip.name, target.dialect, clip.rate, chunk, clip.samples, schedule.speed)


@contextmanager
def settled(record: StreamRecord, clock: Clock = CLOCK) -> Iterator[None]:
    """Note in the record how the body ended; a refusal or failure of the server goes no further."""
    try:
        yield
        record.outcome = "complete"
    except RefusedError as error:
        record.outcome, record.error, record.retry_after_s = "refused", str(error), error.retry_after_s
    except ServerError as error:
        record.outcome, record.error = "failed", str(error)
    except asyncio.CancelledError:
        record.outcome = "cancelled"
        raise
    finally:
        if record.closed_s is None:
            record.closed_s = clock()


async def run(
    target: Target,
    clip: Clip,
    schedule: Schedule,
    record: StreamRecord,
    phase_s: float = 0.0,
    observe: Observer = ignore,
    clock: Clock = CLOCK,
) -> None:
    """Play a recording to a server from `phase_s` seconds after it is ready, and fill the record to the last event.

    What the server does is told by the record's outcome; raises UsageError for what cannot be asked for.
    """
    with settled(record, clock):
        if target.dialect == HTTP:
            record.start_s = clock() + phase_s
            await upload(target, clip, schedule, record.start_s, record, observe, clock)
            return
        stream = Stream(target, record, observe, clock)
        try:
            await stream.open()
            record.start_s = clock() + phase_s
            await stream.play(clip, schedule, record.start_s)
            await stream.finish()
        finally:
            await stream.close()
