"""A live session as the event loop sees it: audio in, with back-pressure; events out, partials coalesced.

Everything here runs on the event loop and computes nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from auricle.errors import AuricleError
from auricle.live.buffer import Mark
from auricle.live.events import Failed, Final, Partial, SpeechStarted, SpeechStopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import numpy as np
    from numpy.typing import NDArray

    from auricle.live.events import Event
    from auricle.live.hub import LiveHub
    from auricle.live.stream import LiveStream

TOKEN_BYTES = 16
FULL_S = 0.02
"""How often a reader that was held back looks for room."""


class SessionEndedError(AuricleError, RuntimeError):
    """Audio came for a session that has ended."""


class LimitError(AuricleError, RuntimeError):
    """A session went beyond a limit it was told of; `limit` is `idle` or `duration`."""

    def __init__(self, limit: str, seconds: float) -> None:
        what = {"idle": "no audio came", "duration": "the session is too long"}[limit]
        super().__init__(what, f"{seconds:g} s", "open a new session")
        self.limit = limit


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of a session in seconds, told to the client; `buffer_s` is audio that may wait before the reader waits."""

    idle_s: float | None = 60.0
    duration_s: float | None = 4 * 3600.0
    buffer_s: float = 10.0
    grace_s: float = 30.0
    backlog: int = 1000


@dataclass(slots=True)
class _Outbox:
    """Events not yet read, in order; of partials between two others the latest alone, none before a final."""

    kept: deque[Event] = field(default_factory=deque)
    partial: Partial | None = None

    def put(self, event: Event) -> bool:
        """Add an event and tell whether it replaced a partial that nobody read."""
        if isinstance(event, Partial):
            replaced = self.partial is not None
            if self.partial is not None and self.partial.new_stable:
                new = (*self.partial.new_stable, *event.new_stable)
                event = replace(event, new_stable=new)
            self.partial = event
            return replaced
        if self.partial is not None and isinstance(event, SpeechStarted | SpeechStopped):
            self.kept.append(self.partial)
        self.partial = None
        self.kept.append(event)
        return False

    def __bool__(self) -> bool:
        return bool(self.kept) or self.partial is not None

    def get(self) -> Event | None:
        """Take the oldest."""
        if self.kept:
            return self.kept.popleft()
        partial, self.partial = self.partial, None
        return partial


class Session:
    """One live stream with its client. A dropped client may come back within the grace time by `token`.

    `news` is called when there is something to `take`, and when the session has ended. `carried` is for whoever speaks
    with the client: what it needs when the client comes back.
    """

    def __init__(self, hub: LiveHub, stream: LiveStream, limits: SessionLimits) -> None:
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self.stream = stream
        self.limits = limits
        self.coalesced = 0
        self.carried: object = None
        self._hub = hub
        self.news: Callable[[], None] = _nobody
        self._outbox = _Outbox()
        self._most_waiting = max(round(limits.buffer_s * stream.rate), stream.buffer.chunk)
        self._heard_s = time.perf_counter()
        self._ending = False
        self.ended = False

    @property
    def received(self) -> int:
        """Samples that were accepted so far: where a client that comes back has to go on."""
        return self.stream.buffer.received

    @property
    def ending(self) -> bool:
        """Whether `end` was called."""
        return self._ending

    @property
    def full(self) -> bool:
        """Whether so much audio, or so many answers, wait that the client should be held back."""
        if self.ended:
            return False
        return self.stream.buffer.samples > self._most_waiting or len(self._outbox.kept) > self.limits.backlog

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take audio at the model's rate; whoever sends more while the session is `full` fills the memory.

        Raises SessionEndedError after `end`, and LimitError once the session has lasted too long.
        """
        if self._ending or self.ended:
            raise SessionEndedError("the session has ended and takes no more audio")
        now_s = time.perf_counter()
        buffer, duration_s = self.stream.buffer, self.limits.duration_s
        if duration_s is not None and buffer.received > duration_s * self.stream.rate:
            raise LimitError("duration", duration_s)
        self._heard_s = now_s
        if buffer.append(samples, now_s):
            self._hub.ready(self.stream)

    async def feed(self, samples: NDArray[np.float32]) -> None:
        """Take audio as `push` does, once the session is no longer full."""
        while self.full:  # noqa: ASYNC110  the engine thread makes room and tells nobody
            await asyncio.sleep(FULL_S)
        self.push(samples)

    def finalize(self, name: str | None = None) -> None:
        """End the utterance exactly here; its final carries a mark of this name, also when it is empty."""
        self._mark(Mark(name))

    def end(self) -> None:
        """End the stream exactly here: one more final, then no more events."""
        if not self._ending:
            self._mark(Mark(ends_stream=True))
            self._ending = True

    def keep_alive(self) -> None:
        """Count the session as not idle, though no audio came."""
        self._heard_s = time.perf_counter()

    def take(self) -> Event | None:
        """Return what was heard next, None while there is nothing; of partials that were not taken only the last.

        Raises LimitError when no audio came for too long.
        """
        event = self._outbox.get()
        if event is None and (limit_s := self._idle_limit(time.perf_counter())) is not None:
            raise LimitError("idle", limit_s)
        return event

    async def events(self) -> AsyncIterator[Event]:
        """Yield what `take` returns until the stream ends: after the final of `end`, and after a failure."""
        arrived = asyncio.Event()
        self.news = arrived.set
        while True:
            arrived.clear()
            while (event := self.take()) is not None:
                yield event
            if self.ended:
                return
            await arrived.wait()

    def close(self) -> None:
        """Give the stream's place back at once, whatever was not heard yet; again does nothing."""
        if not self.ended:
            self.ended = True
            self._hub.forget(self)
        self.carried = None
        self.news()

    def check_idle(self, now_s: float) -> None:
        """Call for `take` when no audio has come for too long; the hub does this now and then."""
        if self._idle_limit(now_s) is not None:
            self.news()

    def deliver(self, event: Event) -> None:
        """Take an event from the engine."""
        self.coalesced += self._outbox.put(event)
        if isinstance(event, Failed) or (
            isinstance(event, Final) and event.mark is not None and event.mark.ends_stream
        ):
            self.ended = True
            self._hub.forget(self)
        self.news()

    def _idle_limit(self, now_s: float) -> float | None:
        """Return the limit that was reached; a client whose audio waits for the engine is not idle."""
        idle_s = self.limits.idle_s
        if idle_s is None or self._ending or self.ended or now_s - self._heard_s < idle_s or self.full:
            return None
        return idle_s

    def _mark(self, mark: Mark) -> None:
        if self._ending or self.ended:
            raise SessionEndedError("the session has ended")
        self._heard_s = time.perf_counter()
        if self.stream.buffer.mark(mark, time.perf_counter()):
            self._hub.ready(self.stream)


def _nobody() -> None:
    """Nobody wants to know."""
