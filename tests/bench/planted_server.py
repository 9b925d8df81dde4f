"""A live server that recognises nothing and plants everything: delays, errors, faults and a breaking point.

It reads the words off the audio (see planted_speech), does to them what its plan says for the number of streams that
are live, and logs by its own clock what came, what it said and when. The truth of a test is that log, which knows
nothing of the client's.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from tests.bench.planted_dialects import DIALECTS, OpenAI
from tests.bench.planted_speech import Ear, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from tests.bench.planted_dialects import Samples

CLOCK = time.monotonic
NEW_UTTERANCE_GAP_S = 0.6
INTERNAL_ERROR = 1011
STAMPED = {"received": 0.0, "ready": 0.1, "tick": 0.3, "step": 0.5, "stepped": 0.9, "sent": 1.0}


@dataclass(frozen=True, slots=True)
class Level:
    """What is planted while so many streams are live.

    A partial for each step of audio follows it by a delay drawn evenly from `delay_s`, and `slope` seconds more for
    each second of the stream; a final follows the end of audio by one from `finalize_s`. `errors` tells by the place
    of a word in its utterance whether it is substituted (S), deleted (D) or followed by a wrong one (I); the words at
    `unstable` places are wrong the first time that they are shown. Of every `drop_each` streams one is cut off at
    `drop_at_s`, of every `silent_each` one is never told a word, of every `truncate_each` one is told no word after
    `truncate_after`; 0 is none. Nothing is said, or with `stops_reading` nothing is read, for `stall_s` from
    `stall_at_s` on.
    """

    delay_s: tuple[float, float] = (0.3, 0.3)
    finalize_s: tuple[float, float] = (0.3, 0.3)
    slope: float = 0.0
    errors: Mapping[int, str] = field(default_factory=dict)
    unstable: frozenset[int] = frozenset()
    drop_each: int = 0
    drop_at_s: float = 1.5
    silent_each: int = 0
    truncate_each: int = 0
    truncate_after: int = 4
    stall_at_s: float = 0.0
    stall_s: float = 0.0
    stops_reading: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`levels[n]` holds from n live streams on; more than `most_live` are refused; `step_s` is the step of partials.

    With `endpoint_s` the step that ends so many seconds after the last word, or later, is a final. `accept_s` is how
    long a client waits to be let in. The number of live streams is the most of the last `hold_s`, so that the moment
    between a stream and the next does not count. The first `drop_first` streams are cut off, whatever the level.
    """

    levels: Mapping[int, Level]
    most_live: int | None = None
    retry_after_s: int = 1
    accept_s: float = 0.0
    hold_s: float = 1.5
    drop_first: int = 0
    step_s: float = 0.2
    endpoint_s: float | None = None
    seed: int = 0
    small_buffers: bool = False

    def level(self, live: int) -> Level:
        """Return what is planted for so many."""
        return self.levels[max((least for least in self.levels if least <= live), default=min(self.levels))]


@dataclass(slots=True)
class Spoken:
    """A word of the reference as the server heard it, what was made of it, and its place in its utterance."""

    text: str
    start_s: float
    end_s: float
    place: int
    said: tuple[str, ...]
    mark: str
    unstable: bool = False
    shown: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """A message: when its audio had come, when it was sent, what it said, and which words of the reference it held."""

    received_s: float
    at_s: float
    text: str
    is_final: bool
    audio_s: float
    words: tuple[int, ...]


@dataclass(slots=True)
class StreamLog:
    """What happened to one admitted stream, by the server's clock; `arrived` holds audio seconds so far and when."""

    number: int
    opened_s: float
    arrived: list[tuple[float, float]] = field(default_factory=list)
    words: list[Spoken] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    ended_s: float | None = None
    dropped: bool = False
    closed_s: float | None = None

    @property
    def start_s(self) -> float:
        """When the first sample was captured: the earliest that any message of audio allows."""
        return min(at_s - audio_s for audio_s, at_s in self.arrived)


def stamps(received_s: float, sent_s: float) -> dict[str, float]:
    """Return the server's own times of a message: the delay in the shares of `STAMPED`."""
    return {name: received_s + share * (sent_s - received_s) for name, share in STAMPED.items()}


class _Stream:
    """One connection."""

    def __init__(self, server: PlantedServer, log: StreamLog, web: ServerConnection, path: str) -> None:
        self._server = server
        self._plan = server.plan
        self._log = log
        self._web = web
        parts = urlsplit(path)
        self._dialect = DIALECTS[parts.path]()
        self._rate = int(parse_qs(parts.query).get("sample_rate", [self._dialect.rate])[0])
        self._ear = Ear(self._rate)
        self._rng = random.Random(f"{self._plan.seed} {log.number}")
        self._samples = 0
        self._steps = 0
        self._told_until = 0
        self._final_until = 0
        self._waiting: asyncio.Queue[tuple[float, float, int, float, bool] | None] = asyncio.Queue()
        self._last_s = 0.0
        self._stalled = False

    async def run(self) -> None:
        for message in self._dialect.hello():
            await self._web.send(message)
        teller = asyncio.create_task(self._tell())
        try:
            await self._listen()
            self._waiting.put_nowait(None)
            await teller
        finally:
            teller.cancel()

    async def _listen(self) -> None:
        async for message in self._web:
            if isinstance(self._dialect, OpenAI):
                for answer in self._dialect.updated(message):
                    await self._web.send(answer)
            samples = self._dialect.samples(message)
            if samples is None:
                self._end()
                return
            if not len(samples):
                continue
            self._hear(samples)
            level = self._server.level()
            heard_s = self._samples / self._rate
            is_early = self._log.number < self._plan.drop_first
            if (is_early or self._hits(level.drop_each)) and heard_s >= level.drop_at_s:
                self._log.dropped = True
                await self._web.close(INTERNAL_ERROR, "planted")
                raise ConnectionAbortedError
            if level.stops_reading and level.stall_s and heard_s >= level.stall_at_s and not self._stalled:
                self._stalled = True
                await asyncio.sleep(level.stall_s)

    def _hear(self, samples: Samples) -> None:
        self._samples += len(samples)
        self._log.arrived.append((self._samples / self._rate, CLOCK()))
        level = self._server.level()
        for word in self._ear.feed(samples):
            self._log.words.append(self._plant(word.text, word.start_s, word.end_s, level))
        while self._samples >= (self._steps + 1) * self._plan.step_s * self._rate - 0.5:
            self._steps += 1
            audio_s = self._steps * self._plan.step_s
            delay_s = self._rng.uniform(*level.delay_s) + level.slope * audio_s
            self._say(delay_s, audio_s, level, is_final=self._endpoint(audio_s))

    def _endpoint(self, audio_s: float) -> bool:
        wait_s = self._plan.endpoint_s
        is_open = len(self._log.words) > self._final_until and self._ear.silent
        is_over = wait_s is not None and is_open and audio_s - self._log.words[-1].end_s >= wait_s
        if is_over:
            self._final_until = len(self._log.words)
        return is_over

    def _plant(self, text: str, start_s: float, end_s: float, level: Level) -> Spoken:
        before = self._log.words[-1] if self._log.words else None
        is_new = before is None or start_s - before.end_s >= NEW_UTTERANCE_GAP_S
        place = 0 if before is None or is_new else before.place + 1
        mark = level.errors.get(place, "")
        if self._hits(level.silent_each) or (self._hits(level.truncate_each) and place >= level.truncate_after):
            mark = "D"
        said = {"": (text,), "S": (wrong(text),), "D": (), "I": (text, "zxq")}[mark]
        return Spoken(text, start_s, end_s, place, said, mark, unstable=place in level.unstable and not mark)

    def _end(self) -> None:
        self._log.ended_s = CLOCK()
        level = self._server.level()
        self._say(self._rng.uniform(*level.finalize_s), self._samples / self._rate, level, is_final=True)

    def _say(self, delay_s: float, audio_s: float, level: Level, *, is_final: bool) -> None:
        at_s = CLOCK() + delay_s
        stall_s = self._log.start_s + level.stall_at_s
        if not level.stops_reading and stall_s <= at_s < stall_s + level.stall_s:
            at_s = stall_s + level.stall_s
        self._last_s = max(at_s, self._last_s)
        self._waiting.put_nowait((self._last_s, self._log.arrived[-1][1], len(self._log.words), audio_s, is_final))

    async def _tell(self) -> None:
        while (item := await self._waiting.get()) is not None:
            at_s, received_s, until, audio_s, is_final = item
            await asyncio.sleep(max(0.0, at_s - CLOCK()))
            held = range(self._told_until, until)
            text = " ".join(piece for number in held for piece in self._show(self._log.words[number], is_final))
            now_s = CLOCK()
            messages = self._dialect.result(text, audio_s, stamps(received_s, now_s), is_final=is_final)
            for message in messages:
                await self._web.send(message)
            if messages:
                shown = tuple(number for number in held if self._log.words[number].said)
                self._log.said.append(Said(received_s, now_s, text, is_final, audio_s, shown))
            if is_final:
                self._told_until = until
        for message in self._dialect.goodbye():
            await self._web.send(message)

    @staticmethod
    def _show(word: Spoken, is_final: bool) -> tuple[str, ...]:
        if word.said and not is_final:
            word.shown += 1
        return (wrong(word.text),) if word.unstable and word.shown == 1 and not is_final else word.said

    def _hits(self, each: int) -> bool:
        return bool(each) and self._log.number % each == each - 1


class PlantedServer:
    """The server in a thread of its own, as a context; `streams` and `refused_s` are its log."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.streams: list[StreamLog] = []
        self.refused_s: list[float] = []
        self.live = 0
        self._entering = 0
        self._history: deque[tuple[float, int]] = deque([(0.0, 0)])
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="planted")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def url(self, dialect: str = "deepgram") -> str:
        """Return the address for a dialect by its name in the client."""
        path = {"deepgram": "/v1/listen", "sherpa": "/", "openai-realtime": "/v1/realtime"}[dialect]
        return f"ws://127.0.0.1:{self.port}{path}"

    def level(self) -> Level:
        """Return what is planted at this moment."""
        now_s = CLOCK()
        while len(self._history) > 1 and self._history[1][0] < now_s - self.plan.hold_s:
            self._history.popleft()
        return self.plan.level(max(live for _, live in self._history))

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        listener = socket.create_server(("127.0.0.1", 0))
        if self.plan.small_buffers:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        options: dict[str, Any] = {"compression": None, "process_request": self._admit, "max_queue": 4}
        async with serve(self._handle, sock=listener, close_timeout=1, **options) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._over.wait()

    async def _admit(self, web: ServerConnection, request: Request) -> Response | None:
        del request
        if self.plan.most_live is not None and self.live + self._entering >= self.plan.most_live:
            self.refused_s.append(CLOCK())
            response = web.respond(503, '{"error": {"message": "full"}}')
            response.headers["Retry-After"] = str(self.plan.retry_after_s)
            return response
        self._entering += 1
        try:
            await asyncio.sleep(self.plan.accept_s)
        finally:
            self._entering -= 1
        return None

    def _count(self, change: int) -> None:
        self.live += change
        self._history.append((CLOCK(), self.live))

    async def _handle(self, web: ServerConnection) -> None:
        self._count(1)
        log = StreamLog(len(self.streams), CLOCK() - self.plan.accept_s)
        self.streams.append(log)
        assert web.request is not None
        try:
            with suppress(ConnectionClosed, ConnectionAbortedError):
                await _Stream(self, log, web, web.request.path).run()
                await web.wait_closed()
        finally:
            log.closed_s = CLOCK()
            self._count(-1)
