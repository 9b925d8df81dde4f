"""A server that recognises nothing and computes nothing, to find out what the client itself can carry.

`python -m auricle.bench.live.null_server DIALECT` listens on a free port of this machine, tells it, and ends with its
standard input. It answers every packet of audio with one short message, as a busy recogniser does at most.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING

from picows import WSCloseCode, WSListener, WSMsgType, ws_create_server

from auricle.bench.live.load import run_loop
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from picows import WSFrame, WSTransport, WSUpgradeRequest

RESULT = (
    '{{"type":"Results","start":0,"duration":{:.3f},"is_final":{},"channel":{{"alternatives":[{{"transcript":""}}]}}}}'
)
ITEM = "conversation.item.input_audio_transcription"
BYTES_PER_S = 32_000


class Null(WSListener):
    """A stream of one dialect."""

    def __init__(self) -> None:
        super().__init__()
        self.received = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer one message."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
            return
        self.received += frame.payload_size
        for answer in self.answers(frame):
            transport.send(WSMsgType.TEXT, answer.encode())

    def answers(self, frame: WSFrame) -> tuple[str, ...]:
        """Return what is said to a message."""
        raise NotImplementedError


class Deepgram(Null):
    """Covers what has come."""

    def answers(self, frame: WSFrame) -> tuple[str, ...]:
        """Answer a packet, or the end."""
        covered_s = self.received / BYTES_PER_S
        if frame.msg_type == WSMsgType.BINARY:
            return (RESULT.format(covered_s, "false"),)
        return RESULT.format(covered_s, "true"), '{"type":"Metadata"}'


class Sherpa(Null):
    """Has one empty segment."""

    def answers(self, frame: WSFrame) -> tuple[str, ...]:
        """Answer a packet, or the end."""
        return ('{"text":"","segment":0}' if frame.msg_type == WSMsgType.BINARY else "Done!",)


class OpenAIRealtime(Null):
    """Adds nothing to one item."""

    def answers(self, frame: WSFrame) -> tuple[str, ...]:
        """Answer a packet, the set-up, or the end."""
        message = frame.get_payload_as_bytes()
        if b"input_audio_buffer.append" in message:
            return (f'{{"type":"{ITEM}.delta","item_id":"a","delta":""}}',)
        if b"session.update" in message:
            return ('{"type":"session.updated"}',)
        committed = '{"type":"input_audio_buffer.committed","item_id":"a"}'
        return committed, f'{{"type":"{ITEM}.completed","item_id":"a","transcript":""}}'


LISTENERS: dict[str, Callable[[], Null]] = {
    "deepgram": Deepgram,
    "sherpa": Sherpa,
    "openai-realtime": OpenAIRealtime,
}


async def serve(dialect: str) -> None:
    """Serve until standard input ends."""

    def listener(_: WSUpgradeRequest) -> Null:
        return LISTENERS[dialect]()

    loop, over = asyncio.get_running_loop(), asyncio.Event()
    server = await ws_create_server(listener, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait, daemon=True).start()
    await over.wait()
    server.close()


def check_dialect(dialect: str) -> None:
    """Raise UsageError for a dialect that there is no null server for."""
    if dialect not in LISTENERS:
        raise UsageError("there is no null server for this dialect", dialect, f"choose one of {', '.join(LISTENERS)}")


if __name__ == "__main__":
    run_loop(serve(sys.argv[1]))
