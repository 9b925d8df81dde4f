"""How Deepgram streams end: errors, limits, refusals, and clients that die, flood or do not read."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from auricle.serve.live_audio import PIECE_BYTES
from tests.serve.deepgram_helpers import CLOSE, FINALIZE, KEEP_ALIVE, listen, of_type, refused, transcript
from tests.serve.live_helpers import (
    WAIT_S,
    FailingRecognizer,
    HeldRecognizer,
    cut,
    drop,
    half_open,
    noise,
    read_all,
    read_failed,
    text_of,
    wait_until,
    wait_until_live,
)

if TYPE_CHECKING:
    from tests.serve.conftest import Running, Start

pytestmark = pytest.mark.usefixtures("no_traceback_on_the_server")


def test_floats_that_are_not_audio_end_the_stream_with_data_0000(server: Running) -> None:
    with listen(server, encoding="linear32") as client:
        client.send(np.full(1600, np.nan, "<f4").tobytes())
        assert [message["variant"] for message in read_failed(client)] == ["DataError"]
    assert client.close_code == 1008
    assert client.close_reason is not None
    assert client.close_reason.startswith("DATA-0000")
    wait_until_live(server, 0)


def test_a_failing_engine_is_told_with_its_error(start: Start) -> None:
    server = start(FailingRecognizer())
    with listen(server) as client:
        client.send(noise(1.0).tobytes())
        (error,) = read_failed(client)
    assert error["variant"] == "InternalError"
    assert "the device is lost" in error["description"]
    assert client.close_code == 1011
    wait_until_live(server, 0)


def test_an_idle_stream_is_told_and_ended_and_keep_alive_prevents_it(start: Start) -> None:
    server = start(idle_s=3.0)
    with listen(server) as client, listen(server) as kept:
        assert client.response is not None
        assert client.response.headers["auricle-idle-limit"] == "3"
        done = threading.Event()

        def keep() -> None:
            while not done.wait(0.1):
                kept.send(KEEP_ALIVE)

        keeper = threading.Thread(target=keep)
        keeper.start()
        (error,) = read_failed(client)
        done.set()
        keeper.join()
        assert error["variant"] == "Timeout"
        assert (client.close_code, (client.close_reason or "")[:8]) == (1011, "NET-0001")
        kept.send(CLOSE)
        assert of_type(read_all(kept), "Metadata")


def test_a_stream_that_lasts_too_long_is_told_and_ended(start: Start) -> None:
    server = start(session_s=1.0)
    with listen(server) as client:
        for packet in cut(noise(1.3).tobytes(), 3200):
            client.send(packet)
        assert read_failed(client)[-1]["variant"] == "LimitExceeded"
    assert client.close_code == 1008
    assert "too long" in (client.close_reason or "")
    wait_until_live(server, 0)


def test_one_stream_too_many_is_refused_with_the_limit_what_was_observed_and_when_to_return(start: Start) -> None:
    server = start(max_streams=1)
    with listen(server) as client:
        response = refused(server).response
        body = json.loads(response.body)
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) == body["retry_after"] > 0
        assert body["limit"] == 1
        assert body["observed"]["streams"] == 1
        drop(client)
    wait_until_live(server, 0)
    with listen(server) as client:
        client.send(CLOSE)
        assert of_type(read_all(client), "Metadata")


def test_a_killed_client_gives_its_place_back(server: Running) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(listen(server)) for _ in range(8)]
        wait_until_live(server, 8)
        for client in clients:
            client.send(noise(0.3).tobytes())
            drop(client)
        wait_until_live(server, 0)


def test_a_half_open_client_gives_its_place_back(start: Start) -> None:
    server = start(idle_s=0.4)
    with half_open(server.port, "/v1/listen?encoding=linear16&sample_rate=16000"):
        wait_until_live(server, 0)


def test_a_client_that_sends_all_at_once_is_slowed_and_loses_nothing(start: Start) -> None:
    recognizer, pcm = HeldRecognizer(), noise(12.0)
    server = start(recognizer, buffer_s=0.5)
    hub = server.service.hub
    assert hub is not None
    with listen(server, chunk_ms=160) as client:
        (session,) = hub._sessions.values()
        client.send(pcm.tobytes())
        client.send(CLOSE)
        assert recognizer.entered.wait(WAIT_S)
        wait_until(lambda: session.full)
        assert session.stream.buffer.samples <= 0.5 * 16_000 + PIECE_BYTES // 2
        recognizer.go.set()
        assert transcript(read_all(client)) == text_of(pcm)


def test_a_client_that_reads_late_gets_every_final(server: Running) -> None:
    pcm = noise(8.0)
    with listen(server, interim_results="true", every_partial="true", chunk_ms=160) as client:
        for part in cut(pcm.tobytes(), 32_000):
            client.send(part)
            client.send(FINALIZE)
        client.send(CLOSE)
        wait_until_live(server, 0)
        messages = read_all(client)
    assert transcript(messages) == " ".join(
        text_of(pcm[start : start + 16_000]) for start in range(0, len(pcm), 16_000)
    )


def test_a_message_above_the_servers_limit_closes_the_stream_with_1009(server: Running) -> None:
    with listen(server) as client:
        with suppress(ConnectionClosed):
            client.send(bytes(25 * 1024 * 1024))
        read_failed(client)
        assert client.close_code in {1009, 1006}  # 1006 where the close frame is lost to a reset
    wait_until_live(server, 0)
