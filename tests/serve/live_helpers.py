"""What the tests of the binary dialects share: audio, the text the null engine gives for it, recognisers in trouble."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from websockets.exceptions import ConnectionClosedError

from auricle.audio import Audio, PcmDecoder, PcmFormat
from auricle.engines.contract import LoadOptions, TranscribeOptions
from auricle.engines.null import SAMPLE_RATE, NullEngine, NullRecognizer
from auricle.errors import EngineError
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from websockets.sync.client import ClientConnection

    from auricle.engines.contract import Feed, StreamFailure
    from auricle.transcript import Hypothesis
    from tests.serve.conftest import Running

WAIT_S = 60.0
"""Nothing takes so long, however busy the machine is."""


def noise(seconds: float, seed: int = 0, rate: int = SAMPLE_RATE) -> NDArray[np.int16]:
    """Return 16-bit noise, so that no two stretches are alike."""
    return np.random.default_rng(seed).integers(-20_000, 20_000, round(seconds * rate)).astype("<i2")


def null_text(samples: NDArray[np.float32]) -> str:
    """Return what the null engine says of samples at its rate, as one utterance."""
    recognizer = NullEngine().load(LoadOptions(), Tracer())
    return recognizer.transcribe([Audio(samples, SAMPLE_RATE)], TranscribeOptions())[0].text


def text_of(pcm: NDArray[np.int16]) -> str:
    """Return what the null engine says of 16-bit samples at its rate."""
    return null_text(pcm.astype(np.float32) / np.float32(32768))


def decoded(data: bytes, pcm: PcmFormat) -> NDArray[np.float32]:
    """Return raw PCM as mono samples at the null engine's rate."""
    decoder = PcmDecoder(pcm, SAMPLE_RATE)
    return np.concatenate([decoder.feed(data), decoder.finish()])


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def read_all(client: ClientConnection) -> list[Any]:
    """Read until the server closes; JSON is parsed, other text is left as it is."""
    return [_parse(message) for message in client]


def read_failed(client: ClientConnection) -> list[Any]:
    """Read until the server closes with an error."""
    messages: list[Any] = []
    with suppress(ConnectionClosedError):
        messages.extend(_parse(message) for message in client)
    return messages


def read_one(client: ClientConnection) -> Any:
    return _parse(client.recv(WAIT_S))


def finals(messages: Iterable[Any]) -> list[Any]:
    return [message for message in messages if isinstance(message, dict) and message.get("is_final")]


def wait_until(reached: Callable[[], bool]) -> None:
    """Wait for a condition, or fail."""
    until = time.monotonic() + WAIT_S
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.01)


def wait_until_live(server: Running, count: int) -> None:
    """Wait until so many sessions are open."""
    hub = server.service.hub
    assert hub is not None
    wait_until(lambda: hub.live == count)


def wait_until_away(server: Running, token: str) -> None:
    """Wait until the server knows that the client of a session is gone."""
    hub = server.service.hub
    assert hub is not None
    wait_until(lambda: token in hub._detached)


def wait_until_heard(client: ClientConnection) -> None:
    """Wait until the server has dealt with all that was sent: it answers in order."""
    assert client.ping().wait(WAIT_S)


def drop(client: ClientConnection) -> None:
    """Break the connection as a killed client does: no close frame, a TCP reset."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):  # the server may have closed it first
        client.socket.shutdown(socket.SHUT_RDWR)
    client.close_socket()


@contextmanager
def half_open(port: int, path: str, *, wait: bool = True) -> Iterator[socket.socket]:
    """Connect as a client whose machine then falls silent: it answers nothing, not even pings or a close."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as client:
        client.sendall(request.encode())
        assert not wait or client.recv(12) == b"HTTP/1.1 101"
        yield client


class HeldRecognizer(NullRecognizer):
    """The null recogniser, whose steps wait while `go` is not set; `entered` tells that one was begun."""

    def __init__(self) -> None:
        loaded = NullEngine().load(LoadOptions(), Tracer())
        super().__init__(loaded.info, Tracer())
        self.go, self.entered = threading.Event(), threading.Event()

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        self.entered.set()
        assert self.go.wait(WAIT_S)
        return super().step(ready)


class FailingRecognizer(NullRecognizer):
    """The null recogniser, until it is given samples."""

    def __init__(self) -> None:
        loaded = NullEngine().load(LoadOptions(), Tracer())
        super().__init__(loaded.info, Tracer())

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        raise EngineError("the device is lost", f"{len(ready)} streams", "restart the server")


def _parse(message: str | bytes) -> Any:
    try:
        return json.loads(message)
    except ValueError:
        return message
