"""A client of the Realtime route that sends and reads single messages, and the text that is to be expected."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from websockets.sync.client import connect

from auricle.audio import Audio, PcmDecoder, PcmFormat
from auricle.engines.contract import LoadOptions, TranscribeOptions
from auricle.engines.null import SAMPLE_RATE, NullEngine
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from websockets.sync.client import ClientConnection

    from tests.serve.conftest import Running

PCM = PcmFormat("s16le", 24_000)
TIMEOUT_S = 60.0
TRANSCRIPTION = "conversation.item.input_audio_transcription"
ROUTE = "/v1/realtime?intent=transcription"


class Client:
    """Speaks the protocol over one socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def append(self, data: bytes) -> None:
        self.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())

    def update(self, **audio_input: Any) -> None:
        self.send("session.update", session={"type": "transcription", "audio": {"input": audio_input}})

    def read(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.socket.recv(TIMEOUT_S))
        return event

    def read_until(self, kind: str) -> list[dict[str, Any]]:
        """Read up to and with an event of this type; an error that is not asked for ends it too."""
        events = [self.read()]
        while events[-1]["type"] not in {kind, "error"}:
            events.append(self.read())
        return events


@contextmanager
def connected(server: Running, route: str = ROUTE, **options: Any) -> Iterator[Client]:
    """Connect and leave the session.created unread."""
    with connect(f"{server.ws_url}{route}", max_size=None, open_timeout=TIMEOUT_S, **options) as socket:
        yield Client(socket)


@contextmanager
def started(server: Running, **audio_input: Any) -> Iterator[Client]:
    """Connect with settings, read what the server tells of them."""
    with connected(server) as client:
        assert client.read()["type"] == "session.created"
        if audio_input:
            client.update(**audio_input)
            assert client.read()["type"] == "session.updated"
        yield client


def noise(seconds: float, seed: int = 0, rate: int = PCM.rate) -> bytes:
    """Return noise as 16-bit PCM, different for every seed."""
    samples = np.random.default_rng(seed).integers(-8000, 8000, round(seconds * rate))
    return samples.astype("<i2").tobytes()


def expected_text(data: bytes, pcm: PcmFormat = PCM) -> str:
    """Return what the null engine says of one utterance, resampled as a whole."""
    decoder = PcmDecoder(pcm, SAMPLE_RATE)
    samples = np.concatenate([decoder.feed(data), decoder.finish()])
    recognizer = NullEngine().load(LoadOptions(), Tracer())
    return recognizer.transcribe([Audio(samples, SAMPLE_RATE)], TranscribeOptions())[0].text


def deltas(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == f"{TRANSCRIPTION}.delta")


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def error_of(event: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the code and the parameter of an error event."""
    assert event["type"] == "error", event
    return event["error"]["code"], event["error"]["param"]
