"""Clients made of bytes, which can break every rule, healthy ones beside them, and the text that these must get."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest

from auricle.audio import Audio, PcmDecoder, PcmFormat
from auricle.client.clips import make_clip, wire_format
from auricle.client.dialects import LIVE, live
from auricle.client.dialects.base import Ended, Ready, Target
from auricle.client.events import Heard
from auricle.client.fleet import Concurrency, FleetSettings, run_fleet
from auricle.engines.null import SAMPLE_RATE
from tests.serve.live_helpers import noise, null_text
from tests.serve.test_app_process import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from auricle.client.clips import Clip
    from auricle.client.dialects.base import Dialect, Signal
    from auricle.client.events import StreamRecord
    from tests.serve.test_app_process import Process

    Fault = Callable[[str, str, int], Awaitable[None]]

PATHS = {"deepgram": "/v1/listen", "sherpa": "/sherpa", "openai-realtime": "/v1/realtime"}
DIALECTS = tuple(LIVE)
UNBOUNDED = ("--engine", "null", "--admission", "off")
HEALTHY, FAULTY = 32, 8
WORKERS = ["1", pytest.param("2", marks=pytest.mark.slow)]
"""Front-end processes; faults that do not depend on how many there are, are tried with two where time is no matter."""
SPEED = 4.0
WAIT_S = 60.0
PACKET_S = 0.1
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = np.frombuffer(b"\x9a\x37\x00\xfe", np.uint8)


class ClosedError(Exception):
    """The server closed the WebSocket."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code


def frame(
    payload: str | bytes,
    opcode: int | None = None,
    *,
    fin: bool = True,
    masked: bool = True,
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    """Return one WebSocket frame (RFC 6455, section 5.2), right or wrong as asked; `length` is what it claims."""
    data = payload.encode() if isinstance(payload, str) else payload
    kind = (TEXT if isinstance(payload, str) else BINARY) if opcode is None else opcode
    size = len(data) if length is None else length
    if size < 126:
        sizes = bytes([masked << 7 | size])
    elif size < 1 << 16:
        sizes = bytes([masked << 7 | 126]) + size.to_bytes(2, "big")
    else:
        sizes = bytes([masked << 7 | 127]) + size.to_bytes(8, "big")
    head = bytes([fin << 7 | reserved << 4 | kind]) + sizes
    if not masked:
        return head + data
    return head + MASK.tobytes() + (np.frombuffer(data, np.uint8) ^ np.resize(MASK, len(data))).tobytes()


class Wire:
    """An open WebSocket without a library; `words` are those of its dialect, `at_once` the bytes of one read."""

    def __init__(self, connected: socket.socket, words: Dialect, head: str) -> None:
        self.socket = connected
        self.words = words
        self.head = head
        self.at_once = 1 << 16
        self.messages: list[str] = []
        self.heard: list[Heard] = []
        self.pongs = 0
        self._loop = asyncio.get_running_loop()
        self._unread = bytearray()

    async def put(self, data: bytes) -> None:
        await asyncio.wait_for(self._loop.sock_sendall(self.socket, data), WAIT_S)

    async def say(self, *messages: str | bytes) -> None:
        for message in messages:
            await self.put(frame(message))

    async def play(self, clip: Clip, *, seconds: float, pace: float | None = None) -> None:
        """Send the beginning of a recording, `pace` times as fast as spoken, or at once."""
        end = round(seconds * clip.rate) * len(clip.pcm) // clip.samples
        for packet in packets(clip.pcm[:end], round(PACKET_S * clip.rate) * len(clip.pcm) // clip.samples):
            await self.say(self.words.audio(packet))
            if pace is not None:
                await asyncio.sleep(PACKET_S / pace)

    async def read(self) -> tuple[int, bytes]:
        """Read a frame of the server, which masks and fragments nothing."""
        opcode, size = struct.unpack("BB", await self._bytes(2))
        if size >= 126:
            size = int.from_bytes(await self._bytes({126: 2, 127: 8}[size]), "big")
        return opcode & 0x0F, bytes(await self._bytes(size))

    async def signals(self) -> list[Signal]:
        """Read a frame and say what it means; raises ClosedError for a close, and what the dialect raises."""
        opcode, data = await self.read()
        self.pongs += opcode == PONG
        if opcode == CLOSE:
            raise ClosedError(int.from_bytes(data[:2], "big"), data[2:].decode())
        if opcode != TEXT:
            return []
        self.messages.append(data.decode())
        found = list(self.words.read(self.messages[-1]))
        self.heard += [signal for signal in found if isinstance(signal, Heard)]
        return found

    async def session(self) -> Any:
        """Read what a client that may come back is told first."""
        told = json.loads((await self.read())[1])
        assert told["type"] == "Session"
        return told

    async def until(self, kind: type[Ready | Ended | Heard]) -> None:
        while not any(isinstance(signal, kind) for signal in await self.signals()):
            pass

    async def finish(self) -> str:
        """Say that no more audio follows, and return all that was heard for good."""
        await self.say(*self.words.ending())
        await self.until(Ended)
        return self.text

    @property
    def text(self) -> str:
        return " ".join(heard.text for heard in self.heard if heard.is_final and heard.text)

    async def ending(self) -> int:
        """Read until the server closes and return its code; raises EOFError where it says nothing."""
        while True:
            opcode, data = await self.read()
            if opcode == TEXT:
                self.messages.append(data.decode())
            if opcode == CLOSE:
                return int.from_bytes(data[:2], "big")

    def reset(self) -> None:
        """Go as a killed client does where unread data is left: without a close frame, by a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def _bytes(self, size: int) -> bytes:
        while len(self._unread) < size:
            data = await asyncio.wait_for(self._loop.sock_recv(self.socket, self.at_once), WAIT_S)
            if not data:
                raise EOFError
            self._unread += data
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken


@asynccontextmanager
async def wired(url: str, dialect: str, *, receive_bytes: int | None = None, **query: str) -> AsyncIterator[Wire]:
    """Connect to a server's route of this dialect, up to where it takes audio."""
    target = target_of(url, dialect, **query)
    words = live(dialect)(target, wire_format(target)[0])
    address = urlsplit(words.address().url)
    with socket.socket() as connected:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_bytes is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connected, (address.hostname, address.port))
        await loop.sock_sendall(connected, handshake(f"{address.path}?{address.query}"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = await asyncio.wait_for(loop.sock_recv(connected, 1), WAIT_S)
            assert byte, head
            head += byte
        assert head.startswith(b"HTTP/1.1 101"), head
        wire = Wire(connected, words, head.decode())
        await wire.say(*words.opening())
        if not words.ready_at_open:
            await wire.until(Ready)
        yield wire


def handshake(path: str, **headers: str) -> bytes:
    """Return the request to open a WebSocket; `headers` replace or, where empty, remove its own."""
    own = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Version": "13",
    }
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in (own | headers).items() if value]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


def packets(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def target_of(url: str, dialect: str, **query: str) -> Target:
    return Target(url=url.replace("http", "ws") + PATHS[dialect], dialect=dialect, query=tuple(query.items()))


def recording(dialect: str, seconds: float, seed: int) -> tuple[Clip, str]:
    """Return noise as a dialect sends it, named by its seed, and what the null engine says of it as one utterance."""
    target = target_of("http", dialect)
    rate, encoding = wire_format(target)
    samples = noise(seconds, seed, rate).astype(np.float32) / np.float32(32768)
    clip = make_clip(Audio(samples, rate, str(seed)), target)
    decoder = PcmDecoder(PcmFormat(encoding, rate), SAMPLE_RATE)
    return clip, null_text(np.concatenate([decoder.feed(clip.pcm), decoder.finish()]))


async def play_healthy(url: str, seconds: float = 3.0, speed: float = SPEED) -> list[StreamRecord]:
    """Play 32 paced streams of all dialects side by side, and hold the complete ones to their text."""
    known = {dialect: [recording(dialect, seconds, 100 + seed) for seed in range(3)] for dialect in DIALECTS}
    shares = {dialect: len(range(place, HEALTHY, len(DIALECTS))) for place, dialect in enumerate(DIALECTS)}
    fleets = [
        run_fleet(
            FleetSettings(
                target=target_of(url, dialect),
                arrivals=Concurrency(shares[dialect], ramp_s=0.2),
                streams=shares[dialect],
                stop_after_s=60,
                speed=speed,
            ),
            [clip for clip, _ in known[dialect]],
        )
        for dialect in DIALECTS
    ]
    records = [record for result in await asyncio.gather(*fleets) for record in result.records]
    texts = {(dialect, clip.name): text for dialect in DIALECTS for clip, text in known[dialect]}
    for record in records:
        if record.outcome == "complete":
            assert record.text == texts[record.dialect, record.clip]
    return records


async def beside(url: str, fault: Fault, faulty: int = FAULTY) -> None:
    """Run a fault many times, in all dialects, amid healthy streams: these lose nothing and all places come free."""
    playing = asyncio.create_task(play_healthy(url))
    await until_live(url, lambda live: live >= HEALTHY or playing.done())
    async with asyncio.TaskGroup() as group:
        for number in range(faulty):
            group.create_task(_run(fault(url, DIALECTS[number % len(DIALECTS)], number)))
    records = await playing
    assert [(record.outcome, record.error) for record in records] == [("complete", None)] * HEALTHY
    await until_live(url, lambda live: live == 0)


async def _run(fault: Awaitable[None]) -> None:
    await fault


async def until_live(url: str, reached: Callable[[int], bool]) -> None:
    """Wait until the server says that it has so many live streams."""
    until = time.monotonic() + WAIT_S
    async with httpx.AsyncClient(timeout=WAIT_S) as client:
        while not reached(live := (await client.get(f"{url}/health")).json()["live"]["streams"]):
            assert time.monotonic() < until, f"{live} streams are live"
            await asyncio.sleep(0.05)


async def until_ready(url: str, status: int, looks: int = 20) -> None:
    """Wait until `/ready` has this status, so many times in a row that every front-end has been asked."""
    async with httpx.AsyncClient(timeout=WAIT_S, headers={"Connection": "close"}) as client:
        found = 0
        while found < looks:
            found = found + 1 if (await client.get(f"{url}/ready")).status_code == status else 0


def memory_bytes(process: Process) -> int:
    """Resident memory of the server and its children."""
    root = psutil.Process(process.popen.pid)
    return sum(one.memory_info().rss for one in [root, *root.children(recursive=True)])


@contextmanager
def faultless(*arguments: str, **environment: str) -> Iterator[Process]:
    """Run `auricle serve`, which must end with 0 when it is told to and must not have logged a defect."""
    with serving(*arguments, **environment) as process:
        yield process
        assert process.end(15) == 0
    said = "".join(process.lines)
    assert "Traceback" not in said, said[max(0, said.index("Traceback") - 500) :][:5000]


def of_kind(wire: Wire, kind: str) -> list[str]:
    """Return the errors among the JSON messages of a stream; `kind` is a word that each dialect would use in them."""
    values = [json.loads(message) for message in wire.messages if message.startswith("{")]
    told = [value for value in values if "error" in value or value.get("type") in {"Error", "error"}]
    return [json.dumps(value) for value in told if kind in json.dumps(value)]
