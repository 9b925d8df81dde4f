"""What the server's front end costs: paced live streams on the null engine beside a bare WebSocket echo, in one run.

    python tools/front_end.py --streams 400 --seconds 10

Each arm is a server process of its own, driven from this process with 100 ms packets of 16 kHz audio (OpenAI: 24 kHz).
Server CPU is that of its whole process, the null engine included. `final` is from the due time of the last packet to
the final text: it includes closing the stream, not only the front end. Arms take turns; loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from auricle.audio import Audio
from auricle.client.clips import make_clip
from auricle.client.dialects.base import Target
from auricle.client.fleet import Concurrency, FleetSettings, run_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.websockets import WebSocket

PATHS = {"echo": "/v1/listen", "deepgram": "/v1/listen", "sherpa": "/", "openai-realtime": "/v1/realtime"}
RAMP_S = 4.0
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


async def echo(websocket: WebSocket) -> None:
    """Answer every packet with a few bytes, and close when asked to as Deepgram's clients do."""
    await websocket.accept()
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text"):
            await websocket.send_text(
                '{"type":"Results","is_final":true,"channel":{"alternatives":[{"transcript":""}]}}'
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

    app = Starlette(routes=[WebSocketRoute("/v1/listen", echo)])
    uvicorn.run(app, port=port, ws="websockets-sansio", log_level="error", ws_per_message_deflate=False)


def start(arm: str) -> Server:
    """Start the arm's server and wait until it takes connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = [sys.executable, "-m", "auricle", "serve", "--engine", "null", "--admission", "off", "--port", str(port)]
    command = [sys.executable, __file__, "--echo-port", str(port)] if arm == "echo" else serve
    server = Server(subprocess.Popen(command, stderr=subprocess.DEVNULL), port)
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.1)
    raise TimeoutError(arm)


def measure(arm: str, streams: int, seconds: float) -> dict[str, Any]:
    """Drive one arm and return its figures."""
    server = start(arm)
    try:
        dialect = "deepgram" if arm == "echo" else arm
        target = Target(url=f"ws://127.0.0.1:{server.port}{PATHS[arm]}", dialect=dialect)
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * 16_000)).astype(np.float32)
        settings = FleetSettings(
            target=target,
            arrivals=Concurrency(streams, ramp_s=RAMP_S),
            streams=streams,
            stop_after_s=seconds + RAMP_S + READY_S,
        )
        before_s, start_s = server.cpu_s(), time.perf_counter()
        result = asyncio.run(run_fleet(settings, [make_clip(Audio(samples, 16_000), target)]))
        cpu_s, wall_s = server.cpu_s() - before_s, time.perf_counter() - start_s
        memory = psutil.Process(server.process.pid).memory_info().rss
    finally:
        server.process.terminate()
        server.process.wait()
    done = [record for record in result.records if record.outcome == "complete"]
    finals_ms = [1000 * (record.heard_s[-1] - record.due_s[-1]) for record in done]
    return {
        "arm": arm,
        "streams": streams,
        "complete": len(done),
        "texts": len({record.text for record in done}),
        "server_us_per_packet": round(1e6 * cpu_s / result.certificate.chunks, 1),
        "server_cores": round(cpu_s / wall_s, 2),
        "final_ms_p50_p99": [round(float(value), 1) for value in np.quantile(finals_ms, [0.5, 0.99])] if done else None,
        "client_late_p99_ms": result.certificate.late_p99_ms,
        "client_cores": round(result.certificate.cpu, 2),
        "server_rss_mb": round(memory / 1e6),
    }


def turns(rounds: int) -> Iterator[str]:
    """Yield the arms, every second round in reverse."""
    for number in range(rounds):
        yield from (list(PATHS) if number % 2 == 0 else list(PATHS)[::-1])


def main() -> None:
    """Measure every arm and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--echo-port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.echo_port is not None:
        serve_echo(arguments.echo_port)
        return
    for arm in turns(arguments.rounds):
        print(json.dumps(measure(arm, arguments.streams, arguments.seconds)), flush=True)


if __name__ == "__main__":
    main()
