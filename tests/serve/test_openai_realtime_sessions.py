"""Realtime sessions from the door to their end: keys, room, limits, speech that starts and stops, faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from websockets.asyncio.client import connect as async_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from auricle.errors import EngineError
from tests.live.fakes import FakeRecognizer
from tests.live.sessions import until
from tests.live.spoken import pcm_of, spoken
from tests.serve.live_helpers import wait_until_live
from tests.serve.openai_realtime_helpers import (
    PCM,
    ROUTE,
    TRANSCRIPTION,
    Client,
    connected,
    deltas,
    error_of,
    expected_text,
    kinds,
    noise,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

    from auricle.engines.contract import Feed, StreamFailure
    from auricle.transcript import Hypothesis
    from tests.serve.conftest import Running, Start

KEY = "a-key-of-twenty-characters"
COMPLETED = f"{TRANSCRIPTION}.completed"
SPEECH_STARTED = "input_audio_buffer.speech_started"
SPEECH_STOPPED = "input_audio_buffer.speech_stopped"
COMMITTED = "input_audio_buffer.committed"


class Hearing(FakeRecognizer):
    """Says a word for every chunk of 100 ms with a loud sample in it, and nothing of the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, sample_rate=16_000)

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        for feed in ready:
            feed.samples[np.abs(feed.samples) < 0.01] = 0
        return super().step(ready)


def refused(server: Running, route: str = ROUTE, **options: Any) -> tuple[int, dict[str, Any], str | None]:
    """Return status, error and Retry-After of a request to connect that is turned down."""
    with pytest.raises(InvalidStatus) as caught, connect(f"{server.ws_url}{route}", **options):
        pass
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"")["error"], response.headers.get("Retry-After")


def closed_with(client: Client) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as caught:
        client.read()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def silence(seconds: float) -> bytes:
    return bytes(round(seconds * 24_000) * 2)


def test_a_session_tells_its_limits_when_it_is_created(start: Start) -> None:
    server, before_s = start(idle_s=7.0, session_s=100.0), int(time.time())
    with connected(server) as client:
        session = client.read()["session"]
    assert session["limits"] == {"idle_timeout_s": 7.0, "duration_s": 100.0, "append_bytes": 15 * 1024 * 1024}
    assert before_s + 100 <= session["expires_at"] <= time.time() + 100
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"


def test_keys_are_taken_from_the_header_and_from_the_subprotocol(start: Start, tmp_path: Path) -> None:
    keys = tmp_path / "api-keys.json"
    keys.write_text(json.dumps([KEY]))
    server = start(api_keys=keys)
    protocols = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{KEY}")]
    with connected(server, additional_headers={"Authorization": f"Bearer {KEY}"}) as client:
        assert client.read()["type"] == "session.created"
    with connected(server, subprotocols=protocols) as client:
        assert client.read()["type"] == "session.created"
        assert client.socket.subprotocol == "realtime"
    wrong = [Subprotocol("realtime"), Subprotocol("openai-insecure-api-key.wrong")]
    for options in ({}, {"subprotocols": wrong}, {"additional_headers": {"Authorization": "Bearer wrong"}}):
        status, error, _ = refused(server, **options)
        assert (status, error["code"], error["type"]) == (401, "invalid_api_key", "invalid_request_error")


@pytest.mark.parametrize(
    ("route", "status", "code", "param"),
    [
        ("/v1/realtime", 400, "invalid_value", "intent"),
        ("/v1/realtime?intent=conversation", 400, "invalid_value", "intent"),
        (f"{ROUTE}&model=whisper-9", 404, "model_not_found", "model"),
    ],
)
def test_what_this_route_does_not_do_is_refused_before_the_upgrade(
    server: Running, route: str, status: int, code: str, param: str
) -> None:
    got, error, _ = refused(server, route)
    assert (got, error["code"], error["param"]) == (status, code, param)


def test_the_model_may_be_named_by_an_alias(start: Start) -> None:
    server = start(alias=("whisper-1",))
    with connected(server, f"{ROUTE}&model=whisper-1") as client:
        client.read()
        client.update(transcription={"model": "whisper-1"})
        assert client.read()["session"]["audio"]["input"]["transcription"]["model"] == "whisper-1"


def test_without_room_a_client_is_told_so_at_once_and_let_in_later(start: Start) -> None:
    server = start(max_streams=2)
    with started(server, turn_detection=None) as first, started(server):
        status, error, retry_after = refused(server)
        assert (status, error["type"], error["code"]) == (503, "server_error", "capacity_exceeded")
        assert "limit 2, observed 2 live streams" in error["message"]
        assert retry_after == "5"
        first.update(transcription={"delay": "xhigh"})
        assert first.read()["type"] == "session.updated", "new settings keep the place"
    wait_until_live(server, 0)
    with started(server):
        wait_until_live(server, 1)


def test_a_model_that_hears_no_live_streams_is_refused_by_name(start: Start) -> None:
    recognizer = FakeRecognizer()
    recognizer.info = replace(recognizer.info, streaming=None)
    status, error, _ = refused(start(recognizer=recognizer))
    assert (status, error["code"], error["param"]) == (400, "unsupported_value", "model")


def test_a_session_without_audio_ends_after_the_time_it_was_told(start: Start) -> None:
    with connected(start(idle_s=2.0)) as client:
        assert client.read()["session"]["limits"]["idle_timeout_s"] == 2.0
        client.update(transcription={"delay": "xhigh"})
        assert client.read()["type"] == "session.updated"
        assert error_of(client.read()) == ("idle_timeout", None)
        assert closed_with(client) == (1008, "idle_timeout")


def test_what_was_heard_is_told_before_an_idle_session_ends(start: Start) -> None:
    server = start(idle_s=2.0)
    data = pcm_of(spoken("demo-sentence-08"), PCM.rate)[: round(1.2 * PCM.rate)].tobytes()
    with started(server) as client:
        client.append(data)
        events = client.read_until(COMPLETED)
        assert kinds(events)[0] == SPEECH_STARTED
        assert kinds(events)[-4:-2] == [SPEECH_STOPPED, COMMITTED]
        assert expected_text(data).startswith(events[-1]["transcript"][:20])
        assert deltas(events) == events[-1]["transcript"]
        assert error_of(client.read()) == ("idle_timeout", None)
    wait_until_live(server, 0)


def test_a_session_that_grows_too_long_ends_after_its_last_item(start: Start) -> None:
    with started(start(session_s=1.0), turn_detection=None) as client:
        with contextlib.suppress(ConnectionClosed):  # it may end before all is sent
            for _ in range(15):
                client.append(noise(0.1))
        events = client.read_until(COMPLETED)
        assert events[-1]["usage"]["seconds"] == pytest.approx(1.0, abs=0.15)
        assert error_of(client.read()) == ("session_expired", None)
        assert closed_with(client) == (1008, "session_expired")


def test_without_turn_detection_only_a_commit_ends_an_utterance(start: Start) -> None:
    server = start(recognizer=Hearing())
    with started(server, turn_detection=None) as client:
        client.append(noise(0.5) + silence(4.0) + noise(0.5))
        client.send("input_audio_buffer.commit")
        events = client.read_until(COMPLETED)
    assert set(kinds(events)) == {f"{TRANSCRIPTION}.delta", COMMITTED, COMPLETED}
    assert events[-1]["usage"]["seconds"] == pytest.approx(5.0, abs=0.01)


def test_a_commit_of_silence_is_an_item_without_words(start: Start) -> None:
    server = start(recognizer=Hearing())
    with started(server) as client:
        client.append(silence(0.7))
        client.send("input_audio_buffer.commit")
        events = client.read_until(COMPLETED)
    assert kinds(events) == [COMMITTED, COMPLETED]
    assert events[-1]["transcript"] == ""


def test_silence_alone_is_no_item(start: Start) -> None:
    server = start(recognizer=Hearing())
    with started(server) as client:
        client.append(silence(6.0))
        client.append(noise(0.5))
        client.send("input_audio_buffer.commit")
        events = client.read_until(COMPLETED)
    assert kinds(events).count(COMMITTED) == 1
    assert events[kinds(events).index(COMMITTED)]["previous_item_id"] is None


def test_a_failing_engine_is_told_with_its_item_and_ends_the_session(start: Start) -> None:
    recognizer = Hearing()
    server = start(recognizer=recognizer)
    with started(server, turn_detection=None) as client, started(server, turn_detection=None) as other:
        client.append(noise(0.5))
        heard = client.read_until(f"{TRANSCRIPTION}.delta")
        recognizer.failing.update(stream for stream, words in recognizer.open_streams.items() if words)
        client.append(noise(0.5))
        events = client.read_until(f"{TRANSCRIPTION}.failed")
        assert events[-1]["item_id"] == heard[-1]["item_id"]
        assert "this stream failed" in events[-1]["error"]["message"]
        failure = client.read()
        assert error_of(failure) == ("engine_error", None)
        assert failure["error"]["type"] == "server_error"
        assert closed_with(client) == (1011, "engine_error")
        other.append(noise(0.5))
        other.send("input_audio_buffer.commit")
        assert other.read_until(COMPLETED)[-1]["transcript"]


def test_a_step_that_raises_is_told_to_all_and_the_server_lets_others_in(start: Start) -> None:
    recognizer = Hearing()
    server = start(recognizer=recognizer)
    with started(server, turn_detection=None) as client:
        recognizer.raising = EngineError("the device is gone")
        client.append(noise(0.5))
        client.send("input_audio_buffer.commit")
        assert "the device is gone" in client.read_until(f"{TRANSCRIPTION}.failed")[-1]["error"]["message"]
        assert error_of(client.read()) == ("engine_error", None)
    wait_until_live(server, 0)
    recognizer.raising = None
    with started(server, turn_detection=None) as client:
        client.append(noise(0.5))
        client.send("input_audio_buffer.commit")
        assert client.read_until(COMPLETED)[-1]["transcript"]


def test_a_server_that_stops_tells_sessions_with_audio_and_without(start: Start) -> None:
    server = start()
    hub = server.service.hub
    assert hub is not None
    with started(server) as idle, started(server, turn_detection=None) as busy:
        busy.append(noise(1.5))
        busy.read_until(f"{TRANSCRIPTION}.delta")
        asyncio.run(hub.stop())
        assert error_of(idle.read()) == ("engine_error", None)
        busy.read_until(f"{TRANSCRIPTION}.failed")
        assert "shutting down" in busy.read()["error"]["message"]
        assert closed_with(busy)[0] == closed_with(idle)[0] == 1011
    status, _, retry_after = refused(server)
    assert (status, retry_after) == (503, "5")


@pytest.mark.parametrize("moment", ["at once", "with settings", "amid audio", "after a commit"])
def test_the_place_of_a_client_that_was_killed_is_given_back(server: Running, moment: str) -> None:
    wait_until_live(server, 0)
    with started(server, turn_detection=None) as neighbour:
        with connected(server) as client:
            if moment != "at once":
                client.update(turn_detection=None)
            if moment in {"amid audio", "after a commit"}:
                client.append(noise(3.0))
            if moment == "after a commit":
                client.send("input_audio_buffer.commit")
            client.read()
            raw = client.socket.socket
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.shutdown(socket.SHUT_RD)
            raw.close()
        wait_until_live(server, 1)
        neighbour.append(noise(0.6, 9))
        neighbour.send("input_audio_buffer.commit")
        assert neighbour.read_until(COMPLETED)[-1]["transcript"] == expected_text(noise(0.6, 9))


def test_a_reader_that_was_away_gets_every_item_in_order(server: Running) -> None:
    utterances = [noise(0.3, seed) for seed in range(60)]
    with started(server, turn_detection=None, transcription={"delay": "xhigh"}) as client:
        for data in utterances:
            client.append(data)
            client.send("input_audio_buffer.commit")
        time.sleep(1.0)
        got = [client.read_until(COMPLETED)[-1]["transcript"] for _ in utterances]
    assert got == [expected_text(data) for data in utterances]


def test_a_client_that_does_not_read_its_errors_is_slowed_down_and_loses_none(server: Running) -> None:
    total, padding = 20_000, "x" * 2000
    sent = 0

    async def flood(connection: ClientConnection) -> None:
        nonlocal sent
        for number in range(total):
            await connection.send(json.dumps({"type": "nonsense", "event_id": f"{padding}{number}"}))
            sent += 1

    async def read_late() -> list[str]:
        async with async_connect(f"{server.ws_url}{ROUTE}", max_queue=1, ping_interval=None) as connection:
            await connection.recv()
            sender = asyncio.create_task(flood(connection))
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.5)
            assert before < total, "the server took everything from a client that reads nothing"
            answers = [json.loads(await connection.recv()) for _ in range(total)]
            await sender
        return [answer["error"]["event_id"] for answer in answers]

    assert asyncio.run(read_late()) == [f"{padding}{number}" for number in range(total)]


def test_a_client_that_takes_nothing_any_more_is_let_go(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "auricle.access")
    server = start(idle_s=1.0)
    message = json.dumps({"type": "nonsense", "event_id": "x" * 500_000})

    async def never_read() -> None:
        async with async_connect(f"{server.ws_url}{ROUTE}", max_queue=1, ping_interval=None) as connection:
            await connection.recv()
            sender = asyncio.create_task(flood(connection))
            await until(lambda: "/v1/realtime ended" in caplog.text)
            sender.cancel()
            connection.transport.abort()
            assert server.service.hub is not None
            assert server.service.hub.live == 0

    async def flood(connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.send(message)

    asyncio.run(never_read())
