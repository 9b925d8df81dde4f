"""What all routes share: the recogniser, its live hub, the keys, the counters, and the state of the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from auricle.engines.contract import StreamingRecognizer
from auricle.live.admission import RefusedError
from auricle.live.calibration import demo_speech
from auricle.live.engine import LocalEngine
from auricle.live.hub import HubRules, LiveHub
from auricle.live.replicas import ReplicatedEngine
from auricle.live.session import SessionLimits
from auricle.serve.auth import AuthError, Keys, is_foreign, read_keys
from auricle.serve.files import FileJobs
from auricle.serve.metrics import Metrics
from auricle.serve.tally import Tally

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from auricle.engines.contract import Recognizer, StreamOptions
    from auricle.live.endpoint import EndpointRules
    from auricle.live.engine import LiveEngine
    from auricle.live.session import Session
    from auricle.serve.relay import Relay
    from auricle.serve.settings import Settings

LAG_EVERY_S = 0.1
FAREWELL_S = 3.0
"""Seconds in which sessions that are cut short may still tell their clients."""


class Service:
    """One recogniser and all that serves it; live streams are stepped in this process unless an `engine` is given.

    `relay` knows the other front-ends, if there are any.

    `hub` is None before `start` and for engines without live streams; `sockets` counts the WebSockets that are open.
    """

    def __init__(
        self,
        settings: Settings,
        recognizer: Recognizer,
        metrics: Metrics | None = None,
        engine: LiveEngine | None = None,
        relay: Relay | None = None,
    ) -> None:
        self.settings = settings
        self.recognizer = recognizer
        self.metrics = metrics or Metrics()
        self.hub: MeteredHub | None = None
        self.files = FileJobs(recognizer, settings, self.metrics)
        self.sockets = Tally()
        self.draining = False
        self._lag: asyncio.Task[None] | None = None
        self.relay = relay
        self._engine = engine
        self._keys = Keys(() if settings.api_keys is None else read_keys(settings.api_keys), settings.trusted_networks)

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names under which the model is served, its own first."""
        return tuple(dict.fromkeys((self.recognizer.info.name, *self.settings.alias)))

    @property
    def status(self) -> str:
        """`ok`, `draining`, or `starting` while the engine's process is replaced."""
        if self.draining:
            return "draining"
        return "ok" if self.hub is None or self.hub.engine.alive else "starting"

    def authorise(self, key: str | None, request: HTTPConnection) -> None:
        """Raise AuthError unless who sent this request with this key may use the server."""
        address = None if request.client is None else request.client.host
        foreign = is_foreign(request.headers) and request.headers["origin"] not in self.settings.allow_origins
        try:
            self._keys.check(key, address, foreign=foreign)
        except AuthError:
            self.metrics.refused("key")
            raise

    async def start(self) -> None:
        """Make the hub on the running loop, and measure what its steps cost; again does nothing."""
        if self._lag is None:
            self._lag = asyncio.create_task(self._watch_loop())
        if self.hub is not None or self.recognizer.info.streaming is None:
            return
        rules = hub_rules(self.settings)
        engine = self._engine
        if engine is None and isinstance(self.recognizer, StreamingRecognizer):
            engine = LocalEngine(self.recognizer, rules.admission, self.metrics.step)
            self.metrics.pieces(self.recognizer)
        self.hub = hub = MeteredHub(self.recognizer, rules, self.metrics, engine, self.relay)
        self.metrics.watch("auricle_live_streams", "Live sessions.", lambda: hub.load().streams)
        self.metrics.watch("auricle_live_slots", "Places for live sessions.", lambda: hub.streaming.slots)
        self.metrics.watch("auricle_live_duty", "Share of time the engine is busy.", lambda: hub.load().duty)
        if isinstance(engine, ReplicatedEngine):
            watch_replicas(self.metrics, engine)
        if isinstance(engine, LocalEngine) and self.settings.admission and self.settings.calibrate:
            await engine.calibrate(await asyncio.to_thread(demo_speech, self.recognizer.info.sample_rate))

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        if self.hub is not None:
            self.hub.count_received()
        return self.metrics.text()

    async def drain(self) -> bool:
        """Let nothing new in, wait for what is open, then end what is left; return whether nothing was left."""
        self.draining = True
        timeout_s = self.settings.drain_s
        ends = [self.files.drain(timeout_s), self.sockets.wait_empty(timeout_s)]
        if self.hub is not None:
            ends.append(self.hub.drain(timeout_s))
        finished = all(await asyncio.gather(*ends))
        if not finished:
            await self._end()
            await self.sockets.wait_empty(FAREWELL_S)
        return finished

    async def stop(self) -> None:
        """End the engine thread and the files' threads; clients that are left are told."""
        self.draining = True
        if self._lag is not None:
            self._lag.cancel()
        await self._end()
        await self.files.stop()
        if self.relay is not None:
            self.relay.stop()

    async def _end(self) -> None:
        if self.hub is not None:
            await self.hub.stop()

    async def _watch_loop(self) -> None:
        """Measure how late timers come: what every client of this loop waits on top."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.metrics.loop_lag.observe(max(loop.time() - due_s, 0.0))


class MeteredHub(LiveHub):
    """A hub that counts what it refuses and the audio that it receives."""

    def __init__(
        self,
        recognizer: Recognizer,
        rules: HubRules,
        metrics: Metrics,
        engine: LiveEngine | None = None,
        relay: Relay | None = None,
    ) -> None:
        super().__init__(recognizer, rules, engine)
        self._relay = relay
        self._metrics = metrics
        self._ended_s = 0.0
        self._counted_s = 0.0

    async def open(
        self, options: StreamOptions, endpoints: EndpointRules | None = None, *, every_partial: bool = False
    ) -> Session:
        """Open a session, as LiveHub does."""
        try:
            session = await super().open(options, endpoints, every_partial=every_partial)
        except RefusedError:
            self._metrics.refused("streams")
            raise
        if self._relay is not None:
            session.token = self._relay.token(session.token)
        return session

    def forget(self, session: Session) -> None:
        """Drop a session, as LiveHub does."""
        if session.stream in self._sessions:
            self._ended_s += session.received / session.stream.rate
        super().forget(session)

    def sweep(self) -> None:
        """Look for idle sessions, and count for the other processes, any of which may be asked."""
        super().sweep()
        self.count_received()

    def count_received(self) -> None:
        """Bring the counter of received audio up to date; done now and then, not with every packet."""
        total_s = self._ended_s + sum(session.received / session.stream.rate for session in self._sessions.values())
        self._metrics.audio_in.labels("live").inc(total_s - self._counted_s)
        self._counted_s = total_s


def watch_replicas(metrics: Metrics, engine: ReplicatedEngine) -> None:
    """Tell of each replica whether it is there, its streams and how busy it is."""
    replicas = engine.engines
    watch = metrics.watch_replicas
    watch("auricle_replica_up", "Whether an engine process is there.", lambda: [one.alive for one in replicas])
    watch("auricle_replica_streams", "Live sessions.", lambda: [one.load().streams for one in replicas])
    watch("auricle_replica_duty", "Share of time the engine is busy.", lambda: [one.load().duty for one in replicas])


def hub_rules(settings: Settings) -> HubRules:
    """Return the rules of live sessions that the settings ask for."""
    limits = SessionLimits(
        idle_s=settings.idle_s,
        duration_s=settings.session_s,
        buffer_s=settings.buffer_s,
        grace_s=settings.grace_s,
    )
    return HubRules(settings.admission_rules, limits)
