"""What all routes share: the recogniser, its live hub, the keys, the counters, and the state of the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from auricle.engines.contract import StreamingRecognizer
from auricle.live.admission import AdmissionRules, RefusedError
from auricle.live.hub import HubRules, LiveHub
from auricle.live.session import SessionLimits
from auricle.serve.auth import AuthError, Keys, read_keys
from auricle.serve.files import FileJobs
from auricle.serve.metrics import Metrics
from auricle.serve.tally import Tally

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from auricle.engines.contract import Recognizer, StreamOptions
    from auricle.live.endpoint import EndpointRules
    from auricle.live.session import Session
    from auricle.serve.settings import Settings

FAREWELL_S = 3.0
"""Seconds in which sessions that are cut short may still tell their clients."""


class Service:
    """One recogniser and all that serves it.

    `hub` is None before `start` and for engines without live streams; `sockets` counts the WebSockets that are open.
    """

    def __init__(self, settings: Settings, recognizer: Recognizer, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.recognizer = recognizer
        self.metrics = metrics or Metrics()
        self.hub: MeteredHub | None = None
        self.files = FileJobs(recognizer, settings, self.metrics)
        self.metrics.watch("auricle_files_open", "Files uploaded, waiting or recognised.", lambda: self.files.open)
        self.sockets = Tally()
        self.draining = False
        self._keys = Keys(() if settings.api_keys is None else read_keys(settings.api_keys), settings.trusted_networks)

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names under which the model is served, its own first."""
        return tuple(dict.fromkeys((self.recognizer.info.name, *self.settings.alias)))

    def authorise(self, key: str | None, address: str | None) -> None:
        """Raise AuthError unless this key, or a caller from this IP address, may use the server."""
        try:
            self._keys.check(key, address)
        except AuthError:
            self.metrics.refused("key")
            raise

    async def start(self) -> None:
        """Make the hub on the running loop, and measure what its steps cost."""
        recognizer = self.recognizer
        if not isinstance(recognizer, StreamingRecognizer) or recognizer.info.streaming is None:
            return
        self.hub = hub = MeteredHub(recognizer, _hub_rules(self.settings), self.metrics)
        self.metrics.watch("auricle_live_streams", "Live sessions.", lambda: hub.live)
        self.metrics.watch("auricle_live_slots", "Places for live sessions.", lambda: hub.streaming.slots)
        self.metrics.watch("auricle_live_duty", "Share of time the engine is busy.", lambda: hub.load().duty)
        if self.settings.admission and self.settings.calibrate:
            await hub.calibrate(await asyncio.to_thread(_speech, recognizer.info.sample_rate))

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
        await self._end()
        await self.files.stop()

    async def _end(self) -> None:
        if self.hub is not None:
            await self.hub.stop()


class MeteredHub(LiveHub):
    """A hub that counts what it refuses and the audio that it receives."""

    def __init__(self, recognizer: StreamingRecognizer, rules: HubRules, metrics: Metrics) -> None:
        super().__init__(recognizer, rules, metrics.step)
        self._metrics = metrics
        self._ended_s = 0.0
        self._counted_s = 0.0

    async def open(
        self, options: StreamOptions, endpoints: EndpointRules | None = None, *, every_partial: bool = False
    ) -> Session:
        """Open a session, as LiveHub does."""
        try:
            return await super().open(options, endpoints, every_partial=every_partial)
        except RefusedError:
            self._metrics.refused("streams")
            raise

    def forget(self, session: Session) -> None:
        """Drop a session, as LiveHub does."""
        if session.stream in self._sessions:
            self._ended_s += session.received / session.stream.rate
        super().forget(session)

    def count_received(self) -> None:
        """Bring the counter of received audio up to date; done when it is asked for, not with every packet."""
        total_s = self._ended_s + sum(session.received / session.stream.rate for session in self._sessions.values())
        self._metrics.audio_in.labels("live").inc(total_s - self._counted_s)
        self._counted_s = total_s


def _speech(rate: int) -> NDArray[np.float32]:
    """Return the longest recording of the demo corpus at `rate` Hz, shape `(samples,)`."""
    from auricle.audio import load
    from auricle.corpus import open_corpus

    longest = max(open_corpus("demo").utterances, key=lambda one: one.duration_s)
    return load(longest.audio, rate).samples


def _hub_rules(settings: Settings) -> HubRules:
    admission = AdmissionRules(settings.max_duty if settings.admission else None, settings.max_streams)
    limits = SessionLimits(
        idle_s=settings.idle_s,
        duration_s=settings.session_s,
        buffer_s=settings.buffer_s,
        grace_s=settings.grace_s,
    )
    return HubRules(admission, limits)
