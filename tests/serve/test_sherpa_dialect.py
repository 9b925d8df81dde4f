"""sherpa-onnx's dialect: its own client, messages of any size, every message in every state, the ends of a stream."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.serve.live_helpers import (
    WAIT_S,
    FailingRecognizer,
    HeldRecognizer,
    cut,
    drop,
    finals,
    half_open,
    noise,
    read_all,
    read_failed,
    read_one,
    text_of,
    wait_until_heard,
    wait_until_live,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from websockets.sync.client import ClientConnection

    from tests.serve.conftest import Running, Start

VENDORS_CLIENT = "sherpa-onnx-online-websocket-client"
RESUMABLE: dict[str, Any] = {"resumable": "true"}
pytestmark = pytest.mark.usefixtures("no_traceback_on_the_server")


def stream(server: Running, **query: Any) -> ClientConnection:
    return connect(f"{server.ws_url}/?{urlencode(query)}", open_timeout=WAIT_S)


def floats(pcm: NDArray[np.int16]) -> bytes:
    return (pcm / np.float32(32768)).astype("<f4").tobytes()


def read_done(client: ClientConnection) -> list[Any]:
    """Read up to the farewell, which is left out."""
    messages = [read_one(client)]
    while messages[-1] != "Done!":
        messages.append(read_one(client))
    return messages[:-1]


def text(messages: list[Any]) -> str:
    return " ".join(message["text"] for message in finals(messages)).strip()


def refused(server: Running, **query: Any) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught, stream(server, **query):
        pytest.fail("the server let the connection in")
    return caught.value


@pytest.mark.parametrize("samples_per_message", [1600, 7001])
def test_the_vendors_client_gets_the_text_of_the_very_samples(
    server: Running, tmp_path: Path, samples_per_message: int
) -> None:
    client = shutil.which(VENDORS_CLIENT, path=str(Path(sys.executable).parent)) or shutil.which(VENDORS_CLIENT)
    if client is None:
        pytest.skip(f"{VENDORS_CLIENT} of the package sherpa-onnx-bin is not installed")
    pcm, recording = noise(2.7), tmp_path / "noise.wav"
    with wave.open(str(recording), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm.tobytes())
    options = [f"--server-port={server.port}", "--seconds-per-message=0.02"]
    done = subprocess.run(
        [client, *options, f"--samples-per-message={samples_per_message}", recording],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
    )
    results = [json.loads(line[line.index("{") :]) for line in done.stderr.splitlines() if '{"text"' in line]
    assert results[-1]["text"] == text_of(pcm)
    assert (results[-1]["is_final"], results[-1]["is_eof"], results[-1]["segment"]) == (True, True, 0)
    assert done.stderr.rstrip().endswith("Done!")


@pytest.mark.parametrize("size", [1, 100, 4_801, 1 << 20])
def test_messages_may_be_cut_anywhere(server: Running, size: int) -> None:
    pcm = noise(0.6) if size > 1 else noise(0.05)
    with stream(server) as client:
        for packet in cut(floats(pcm), size):
            client.send(packet)
        client.send("Done")
        assert text(read_done(client)) == text_of(pcm)


def test_a_final_closes_its_segment_and_the_next_counts_from_its_start(server: Running) -> None:
    pcm = noise(21.0)
    with stream(server, chunk_ms=560) as client:
        client.send(floats(pcm))
        client.send("Done")
        first, last = finals(read_done(client))
    assert (first["segment"], first["start_time"], first["is_eof"]) == (0, 0.0, False)
    assert (last["segment"], last["start_time"], last["is_eof"]) == (1, 20.16, True)
    assert last["timestamps"] == [0.0, 0.5]
    assert "".join(first["tokens"]).strip() == first["text"]
    assert f"{first['text']} {last['text']}" == f"{text_of(pcm[:322_560])} {text_of(pcm[322_560:])}"


def test_a_result_has_the_fields_of_sherpa_onnx(server: Running) -> None:
    with stream(server) as client:
        client.send("Done")
        (result,) = read_done(client)
    fields = {"text": "", "tokens": [], "timestamps": [], "segment": 0, "start_time": 0.0}
    assert result == {**fields, "is_final": True, "is_eof": True}


MESSAGES: dict[str, tuple[str | bytes, bool]] = {
    "audio": (floats(noise(0.1)), False),
    "half a sample": (b"\x01\x02", False),
    "empty binary": (b"", False),
    "Done": ("Done", False),
    "empty text": ("", True),
    "wrong case": ("DONE", True),
    "JSON": ('{"type":"Finalize"}', True),
    "long text": ("x" * 100_000, True),
}


@pytest.mark.parametrize("first", [b"", floats(noise(0.2))])
@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_in_every_open_state_is_served_or_gets_an_error_in_a_result(
    server: Running, first: bytes, name: str
) -> None:
    message, is_error = MESSAGES[name]
    with stream(server) as client:
        client.send(first)
        client.send(message)
        client.send("Done")
        messages = read_done(client)
    errors = [message["error"]["type"] for message in messages if "error" in message]
    assert errors == (["MessageError"] if is_error else [])
    assert finals(messages)[-1]["is_eof"]


@pytest.mark.parametrize("name", MESSAGES)
def test_after_done_audio_and_nonsense_get_an_error_and_the_final_still_comes(start: Start, name: str) -> None:
    message, is_error = MESSAGES[name]
    pcm = noise(0.2)
    recognizer = HeldRecognizer()
    with stream(start(recognizer)) as client:
        client.send(floats(pcm))
        client.send("Done")
        client.send(message)
        wait_until_heard(client)
        recognizer.go.set()
        messages = read_done(client)
    assert len([message for message in messages if "error" in message]) == (is_error or name == "audio")
    assert text(messages) == text_of(pcm)


@pytest.mark.parametrize("value", [np.nan, np.inf, 30_000.0])
def test_floats_that_are_not_audio_end_the_stream_with_1007(server: Running, value: float) -> None:
    with stream(server) as client:
        client.send(np.full(1600, value, "<f4").tobytes())
        (error,) = read_failed(client)
    assert error["error"]["type"] == "AudioError"
    assert client.close_code == 1007
    assert client.close_reason


def test_floats_somewhat_above_full_scale_are_clipped(server: Running) -> None:
    samples = noise(0.6) / np.float32(10_000)
    with stream(server) as client:
        client.send(samples.astype("<f4").tobytes())
        client.send("Done")
        heard = text(read_done(client))
    assert heard == text_of(np.clip(samples * 32768, -32768, 32768))


@pytest.mark.parametrize(
    ("query", "named"),
    [({"sample_rate": 8000}, "sample_rate"), ({"chunk_ms": 7}, "7"), ({"resume": "x", "finals": 0}, "resumable")],
)
def test_what_cannot_be_honoured_is_refused_by_name(server: Running, query: dict[str, Any], named: str) -> None:
    response = refused(server, **query).response
    assert response.status_code == 400
    assert named in json.loads(response.body)["error"]["message"]


def test_a_key_is_asked_for_where_there_are_keys(start: Start, tmp_path: Path) -> None:
    keys = tmp_path / "api-keys.json"
    keys.write_text('["a-key-of-some-length"]')
    server = start(api_keys=keys)
    assert refused(server).response.status_code == 401
    with connect(server.ws_url, additional_headers={"Authorization": "Bearer a-key-of-some-length"}) as client:
        client.send("Done")
        assert read_done(client)


def test_one_stream_too_many_is_refused(start: Start) -> None:
    server = start(max_streams=1)
    with stream(server) as client:
        response = refused(server).response
        client.send("Done")
        read_done(client)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert json.loads(response.body)["error"]["limit"] == 1


def test_a_silent_client_gives_its_place_back(start: Start) -> None:
    server = start(idle_s=0.4)
    with half_open(server.port, "/"):
        wait_until_live(server, 0)


def test_a_killed_client_gives_its_place_back(start: Start) -> None:
    server = start(idle_s=600)
    with stream(server) as client:
        client.send(floats(noise(0.3)))
        drop(client)
        wait_until_live(server, 0)


@pytest.mark.parametrize("path", ["/", "/?resumable=true"])
def test_clients_that_leave_while_they_are_let_in_leave_nothing_behind(start: Start, path: str) -> None:
    recognizer = HeldRecognizer()
    server = start(recognizer, grace_s=600)
    with stream(server) as client:
        client.send(floats(noise(0.2)))
        assert recognizer.entered.wait(WAIT_S)  # from now on the engine is busy, so whoever comes has to wait
        for _ in range(10):
            with half_open(server.port, path, wait=False):
                pass
        wait_until_live(server, 11)
        recognizer.go.set()
        wait_until_live(server, 1)


def test_idle_and_long_streams_are_told_and_ended(start: Start) -> None:
    server = start(idle_s=2.0, session_s=1.0)
    with stream(server) as idle, stream(server) as long:
        for packet in cut(floats(noise(1.3)), 6400):
            long.send(packet)
        (idle_error,), long_error = read_failed(idle), read_failed(long)[-1]
    assert "no audio" in idle_error["error"]["message"]
    assert "too long" in long_error["error"]["message"]
    assert (idle.close_code, long.close_code) == (1008, 1008)


def test_a_failing_engine_is_told(start: Start) -> None:
    with stream(start(FailingRecognizer())) as client:
        client.send(floats(noise(0.3)))
        (error,) = read_failed(client)
    assert "the device is lost" in error["error"]["message"]
    assert client.close_code == 1011


def test_a_dropped_stream_comes_back_and_nothing_is_lost_or_repeated(server: Running) -> None:
    pcm = noise(2.0)
    with stream(server, **RESUMABLE) as client:
        token = read_one(client)["token"]
        client.send(floats(pcm[:17_001]) + b"\x01\x02\x03")
        read_one(client)
        drop(client)
    hub = server.service.hub
    assert hub is not None
    wait_until_live(server, 1)
    with stream(server, **RESUMABLE, resume=token, finals=0) as client:
        received = read_one(client)["received"]
        client.send(floats(pcm[received:]))
        client.send("Done")
        assert text(read_done(client)) == text_of(pcm)
    assert received == 17_001


def test_the_server_closes_for_a_client_that_does_not(server: Running) -> None:
    with stream(server) as client:
        client.send("Done")
        assert read_all(client)[-1] == "Done!"
    assert client.close_code == 1000
