"""What the server's front end costs: paced live streams on the null engine beside a bare WebSocket echo, in one run.

    python tools/front_end.py --streams 400 --seconds 10

Each arm is a server of its own, driven from this process with 100 ms packets of 16 kHz audio (OpenAI: 24 kHz, without
voice detection). Server CPU is that of all its processes, the null engine included. `added` is from the due time of a
packet that completes a word of the null engine to the text that has the word, `final` from that of the last packet to
the final text: it includes closing the stream. Arms take turns; loopback only.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import uvloop

from auricle.audio import Audio
from auricle.client.clips import make_clip
from auricle.client.dialects.base import Target
from auricle.client.fleet import Concurrency, FleetSettings, run_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.websockets import WebSocket

    from auricle.client.events import StreamRecord

WORD_S = 0.5
"""Audio in a word of the null engine."""
HELD_BACK_S = 0.002
"""Audio that a converter of rates holds back, so that a word may end in the packet after its last sample."""
PATHS = {
    "echo": "/v1/listen",
    "deepgram": "/v1/listen",
    "sherpa": "/",
    "echo-openai": "/v1/realtime",
    "openai-realtime": "/v1/realtime",
}
RAMP_S = 10.0
READY_S = 30.0


@dataclass(frozen=True)
class Server:
    """A server process on loopback."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu_s(self) -> float:
        """CPU time of the process and its children."""
        root = psutil.Process(self.process.pid)
        times = [process.cpu_times() for process in [root, *root.children(recursive=True)]]
        return sum(one.user + one.system for one in times)

    def rss(self) -> int:
        """Resident memory of the process and its children, in bytes."""
        root = psutil.Process(self.process.pid)
        return sum(process.memory_info().rss for process in [root, *root.children(recursive=True)])


async def echo_openai(websocket: WebSocket) -> None:
    """Answer every message with a few bytes, and a commit as OpenAI's clients expect it."""
    await websocket.accept()
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        text = message["text"]
        if "input_audio_buffer.append" in text[:60]:
            await websocket.send_text('{"type":"Echo"}')
        elif "session.update" in text:
            await websocket.send_text('{"type":"session.updated"}')
        else:
            await websocket.send_text('{"type":"input_audio_buffer.committed","item_id":"1"}')
            item = "conversation.item.input_audio_transcription.completed"
            await websocket.send_text(f'{{"type":"{item}","item_id":"1","transcript":""}}')


async def echo(websocket: WebSocket) -> None:
    """Answer every packet with a few bytes, and close when asked to as Deepgram's clients do."""
    await websocket.accept()
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text"):
            await websocket.send_text(
                '{"type":"Results","start":0,"duration":0,"is_final":true,"channel":{"alternatives":[{"transcript":""}]}}'
            )
            await websocket.send_text('{"type":"Metadata"}')
            await websocket.close()
            return
        await websocket.send_text('{"type":"Echo"}')


def serve_echo(port: int) -> None:
    """Run the bare echo under the same ASGI server as Auricle."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    app = Starlette(routes=[WebSocketRoute("/v1/listen", echo), WebSocketRoute("/v1/realtime", echo_openai)])
    uvicorn.run(app, port=port, ws="websockets-sansio", log_level="error", ws_per_message_deflate=False)


def start(arm: str, workers: int) -> Server:
    """Start the arm's server and wait until it takes connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = [sys.executable, "-m", "auricle", "serve", "--engine", "null", "--admission", "off", "--port", str(port)]
    serve += ["--workers", str(workers)] if workers > 1 else []
    command = [sys.executable, __file__, "--echo-port", str(port)] if arm.startswith("echo") else serve
    server = Server(subprocess.Popen(command, stderr=subprocess.DEVNULL), port)
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.1)
    raise TimeoutError(arm)


def added_ms(records: list[StreamRecord], chunk_s: float, held_back_s: float) -> list[float]:
    """Return how long after its due time each packet that fills the chunk of a word's end was answered with it."""
    answered = []
    for record in records:
        seen = 0
        for heard_s, text in zip(record.heard_s, record.texts, strict=True):
            words = len(text.split())
            needed_s = math.ceil(round(words * WORD_S / chunk_s, 6)) * chunk_s + held_back_s
            packet = math.ceil(round(needed_s * record.rate / record.chunk, 6)) - 1
            if words > seen and packet < len(record.due_s):
                answered.append(1000 * (heard_s - record.due_s[packet]))
                seen = words
    return answered


def measure(arm: str, streams: int, seconds: float, workers: int) -> dict[str, Any]:
    """Drive one arm and return its figures."""
    server = start(arm, workers)
    try:
        is_openai = "openai" in arm
        dialect = "openai-realtime" if is_openai else arm.replace("echo", "deepgram")
        query = () if is_openai or arm == "echo" else (("chunk_ms", "100"),)
        url = f"ws://127.0.0.1:{server.port}{PATHS[arm]}"
        target = Target(url=url, dialect=dialect, query=query, endpoints=False if is_openai else None)
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * 16_000)).astype(np.float32)
        settings = FleetSettings(
            target=target,
            arrivals=Concurrency(streams, ramp_s=RAMP_S),
            streams=streams,
            stop_after_s=seconds + RAMP_S + READY_S,
        )
        before_s, start_s = server.cpu_s(), time.perf_counter()
        result = uvloop.run(run_fleet(settings, [make_clip(Audio(samples, 16_000), target)]))
        cpu_s, wall_s = server.cpu_s() - before_s, time.perf_counter() - start_s
        memory = server.rss()
    finally:
        server.process.terminate()
        server.process.wait()
    done = [record for record in result.records if record.outcome == "complete"]
    finals_ms = [1000 * (record.heard_s[-1] - record.due_s[-1]) for record in done]
    latency_ms = [] if arm.startswith("echo") else added_ms(done, *((0.08, HELD_BACK_S) if is_openai else (0.1, 0.0)))
    return {
        "arm": arm,
        "streams": streams,
        "complete": len(done),
        "texts": len({record.text for record in done}),
        "server_us_per_packet": round(1e6 * cpu_s / result.certificate.chunks, 1),
        "server_cores": round(cpu_s / wall_s, 2),
        "added_ms_p50_p99": percentiles(latency_ms),
        "final_ms_p50_p99": percentiles(finals_ms),
        "client_late_p99_ms": result.certificate.late_p99_ms,
        "client_cores": round(result.certificate.cpu, 2),
        "server_rss_mb": round(memory / 1e6),
    }


def percentiles(values: list[float]) -> list[float] | None:
    """Return the median and the 99th percentile."""
    return [round(float(value), 1) for value in np.quantile(values, [0.5, 0.99])] if values else None


def turns(arms: list[str], rounds: int) -> Iterator[str]:
    """Yield the arms, every second round in reverse."""
    for number in range(rounds):
        yield from (arms if number % 2 == 0 else arms[::-1])


def main() -> None:
    """Measure every arm and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="front-end processes of our server")
    parser.add_argument("--arms", nargs="+", choices=list(PATHS), default=list(PATHS))
    parser.add_argument("--echo-port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.echo_port is not None:
        serve_echo(arguments.echo_port)
        return
    gc.disable()  # the pauses of this client would show as the server's
    for arm in turns(arguments.arms, arguments.rounds):
        print(json.dumps(measure(arm, arguments.streams, arguments.seconds, arguments.workers)), flush=True)


if __name__ == "__main__":
    main()
