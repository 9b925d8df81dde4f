"""Small servers that speak each dialect over real sockets and misbehave as they are told to."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from auricle.audio import Audio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

RATE = 16_000


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> Audio:
    """Audio of which every sample is its own, so that loss and reordering show."""
    integers = np.random.default_rng(seed).integers(-3000, 3000, round(seconds * rate))
    return Audio((integers / 32768).astype(np.float32), rate, f"noise-{seed}")


@dataclass
class Planted:
    """What a server does: answer each message after `delay_s`, stop reading once for `stall_s` at `stall_at`, close
    with `close_code` at message `close_at`, send `says` instead of answers, never end when `endless`."""

    delay_s: float = 0.0
    stall_at: int | None = None
    stall_s: float = 0.0
    close_at: int | None = None
    close_code: int = 1011
    says: list[str | bytes] = field(default_factory=list)
    endless: bool = False
    refuse: int | None = None
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    received: list[bytes] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    closed_by_client: list[int | None] = field(default_factory=list)

    @property
    def audio(self) -> bytes:
        return b"".join(self.received)

    def process(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if self.refuse is None:
            return None
        response = connection.respond(self.refuse, self.body)
        for name, value in self.headers.items():
            response.headers[name] = value
        return response

    async def before_answer(self, socket: ServerConnection) -> bool:
        """Misbehave, and tell whether an answer follows."""
        count = len(self.received)
        if count == self.stall_at:
            await asyncio.sleep(self.stall_s)
        if count == self.close_at:
            await socket.close(self.close_code, "planted")
            return False
        if self.says:
            await socket.send(self.says.pop(0))
            return False
        await asyncio.sleep(self.delay_s)
        return True


async def deepgram(socket: ServerConnection, planted: Planted) -> None:
    """Say after each message how many there were."""
    samples = 0

    async def result(*, is_final: bool) -> None:
        words = "" if not samples else f"n{len(planted.received)}"
        channel = {"alternatives": [{"transcript": words, "confidence": 1.0, "words": []}]}
        end_s = samples / RATE
        await socket.send(
            json.dumps({"type": "Results", "start": 0.0, "duration": end_s, "is_final": is_final, "channel": channel})
        )

    async for message in socket:
        if isinstance(message, bytes):
            planted.received.append(message)
            samples += len(message) // 2
            if await planted.before_answer(socket):
                await result(is_final=False)
            continue
        planted.texts.append(message)
        if json.loads(message)["type"] == "CloseStream" and not planted.endless:
            await result(is_final=True)
            await socket.send(json.dumps({"type": "Metadata", "duration": samples / RATE}))
            await socket.close(1000)


async def sherpa(socket: ServerConnection, planted: Planted) -> None:
    """Say after each message how many there were, in segments of four that are not marked as final."""
    async for message in socket:
        if isinstance(message, bytes):
            planted.received.append(message)
            if await planted.before_answer(socket):
                count = len(planted.received)
                await socket.send(json.dumps({"text": f"n{count}", "segment": (count - 1) // 4}))
            continue
        planted.texts.append(message)
        if not planted.endless:
            await socket.send("Done!")


async def openai(socket: ServerConnection, planted: Planted) -> None:
    """Commit by itself after every four messages, as voice activity detection does."""
    session = _Session(socket)
    await session.say("session.created", session={})
    async for message in socket:
        event = json.loads(message)
        if event["type"] == "input_audio_buffer.append":
            planted.received.append(base64.b64decode(event["audio"], validate=True))
            session.buffered += 1
            if await planted.before_answer(socket):
                await session.delta()
            continue
        assert isinstance(message, str)
        planted.texts.append(message)
        if event["type"] == "session.update":
            await session.say("session.updated", session=event["session"])
        elif not planted.endless:
            await session.commit(event.get("event_id"))


@dataclass
class _Session:
    socket: ServerConnection
    buffered: int = 0
    items: int = 0

    async def say(self, kind: str, **details: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, "event_id": "e", **details}))

    async def delta(self) -> None:
        kind = "conversation.item.input_audio_transcription.delta"
        await self.say(kind, item_id=f"item{self.items}", content_index=0, delta="d")
        if self.buffered == 4:
            await self.say("input_audio_buffer.speech_stopped", item_id=f"item{self.items}", audio_end_ms=0)
            await self.commit(None)

    async def commit(self, event_id: str | None) -> None:
        if not self.buffered:
            error = {"type": "invalid_request_error", "code": "input_audio_buffer_commit_empty", "message": "empty"}
            await self.say("error", error={**error, "event_id": event_id})
            return
        item, text = f"item{self.items}", f"d{self.buffered}"
        self.buffered, self.items = 0, self.items + 1
        await self.say("input_audio_buffer.committed", item_id=item, previous_item_id=None)
        kind = "conversation.item.input_audio_transcription.completed"
        await self.say(kind, item_id=item, content_index=0, transcript=text)


HANDLERS = {"deepgram": deepgram, "sherpa": sherpa, "openai-realtime": openai}


@asynccontextmanager
async def serving(dialect: str, planted: Planted) -> AsyncIterator[str]:
    """Serve on a free port and give the address."""

    async def handle(socket: ServerConnection) -> None:
        try:
            await HANDLERS[dialect](socket, planted)
        except ConnectionClosed as error:
            planted.closed_by_client.append(None if error.rcvd is None else error.rcvd.code)
        else:
            planted.closed_by_client.append(socket.close_code)

    options: dict[str, Any] = {"compression": None, "process_request": planted.process, "max_queue": 4}
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@asynccontextmanager
async def speaking(data: bytes, *, hang: bool = False) -> AsyncIterator[int]:
    """Listen on a port, answer anything with `data` and hang up, or stay silent."""

    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read(1)
        writer.write(data)
        if hang:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()
