"""All live sessions of one event loop: opening, delivery from the engine, coming back, draining."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auricle.engines.contract import StreamingRecognizer
from auricle.errors import AuricleError, EngineError
from auricle.live.admission import AdmissionRules
from auricle.live.endpoint import EndpointRules
from auricle.live.engine import LocalEngine
from auricle.live.session import Session, SessionLimits
from auricle.live.stream import make_stream
from auricle.live.thread import TICK_S

if TYPE_CHECKING:
    from auricle.engines.contract import Recognizer, StreamingInfo, StreamOptions
    from auricle.live.admission import Load
    from auricle.live.engine import LiveEngine
    from auricle.live.events import Event
    from auricle.live.stream import LiveStream

SWEEP_S = 1.0


class ResumeError(AuricleError, LookupError):
    """There is no session to come back to under this token."""


@dataclass(frozen=True, slots=True)
class HubRules:
    """How a hub works; see each part."""

    admission: AdmissionRules = field(default_factory=AdmissionRules)
    limits: SessionLimits = field(default_factory=SessionLimits)
    tick_s: float = TICK_S


class LiveHub:
    """Made on the event loop that its sessions live on. Without an `engine` it starts one in this process."""

    def __init__(
        self,
        recognizer: Recognizer,
        rules: HubRules | None = None,
        engine: LiveEngine | None = None,
    ) -> None:
        self.rules = rules or HubRules()
        self.recognizer = recognizer
        self._sessions: dict[LiveStream, Session] = {}
        self._detached: dict[str, tuple[Session, asyncio.TimerHandle]] = {}
        self._draining = False
        self._empty = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.engine = engine or self._local_engine()
        self.engine.start(self._deliver)
        self._sweeper = self._loop.create_task(self._keep_sweeping())

    @property
    def streaming(self) -> StreamingInfo:
        """Chunk sizes, lookahead and slots of the recogniser."""
        streaming = self.recognizer.info.streaming
        if streaming is None:
            raise EngineError(f"{self.recognizer.info.name} does not serve live streams", None, "choose another model")
        return streaming

    @property
    def live(self) -> int:
        """Sessions that are open, those included whose client may come back."""
        return len(self._sessions)

    def load(self) -> Load:
        """Return the present load of the engine, for a stream of the smallest chunk."""
        return self.engine.load()

    async def open(
        self, options: StreamOptions, endpoints: EndpointRules | None = None, *, every_partial: bool = False
    ) -> Session:
        """Open a session; raises RefusedError at once when there is no room, UnsupportedError for its options.

        With `every_partial` each chunk brings a partial, also one that says nothing new.
        """
        if self._draining:
            raise EngineError("the server is shutting down", None, "connect again")
        stream = make_stream(self.recognizer, options, endpoints or EndpointRules(), every_partial=every_partial)
        session = Session(self, stream, self.rules.limits)
        self._sessions[stream] = session
        try:
            await self.engine.add(stream)
        except BaseException:
            session.close()
            raise
        return session

    def detach(self, session: Session) -> None:
        """Keep a session whose client is gone for the grace time, then close it; also one with finals left to tell."""
        timer = self._loop.call_later(session.limits.grace_s, self._expire, session.token)
        self._detached[session.token] = (session, timer)

    def resume(self, token: str) -> Session:
        """Give a detached session back to its client; raises ResumeError for an unknown or expired token."""
        try:
            session, timer = self._detached.pop(token)
        except KeyError:
            raise ResumeError("no session to come back to", None, "open a new session and send all audio") from None
        timer.cancel()
        return session

    def find(self, token: str) -> Session | None:
        """Return the live session of this token, whether its client is there or gone."""
        return next((session for session in self._sessions.values() if session.token == token), None)

    def ready(self, stream: LiveStream) -> None:
        """Tell the engine that a stream's buffer became ready."""
        self.engine.ready(stream)

    def forget(self, session: Session) -> None:
        """Drop a session that has ended and give its place back."""
        self._sessions.pop(session.stream, None)
        if not self._sessions:
            self._empty.set()
        self.engine.remove(session.stream)

    async def drain(self, timeout_s: float) -> bool:
        """Let no new session in and wait for the open ones; return whether all had ended in time."""
        self._draining = True
        if self._sessions:
            self._empty.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._empty.wait()
            except TimeoutError:
                return False
        return True

    async def stop(self) -> None:
        """End the engine, or leave it where others use it too; sessions that are left are told."""
        self._draining = True
        self._sweeper.cancel()
        await self.engine.stop()

    def _local_engine(self) -> LiveEngine:
        if not isinstance(self.recognizer, StreamingRecognizer):
            raise EngineError(f"{self.recognizer.info.name} does not serve live streams", None, "choose another model")
        return LocalEngine(self.recognizer, self.rules.admission, tick_s=self.rules.tick_s)

    def sweep(self) -> None:
        """Look for idle sessions; one look for all costs less than a timer for each."""
        now_s = time.perf_counter()
        for session in list(self._sessions.values()):
            session.check_idle(now_s)

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(min(SWEEP_S, (self.rules.limits.idle_s or SWEEP_S) / 4))
            self.sweep()

    def _expire(self, token: str) -> None:
        if (kept := self._detached.pop(token, None)) is not None:
            kept[0].close()

    def _deliver(self, out: list[tuple[LiveStream, Event]]) -> None:
        for stream, event in out:
            if (session := self._sessions.get(stream)) is not None:
                session.deliver(event)
