"""Deepgram streams whose client drops and comes back."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.serve.deepgram_helpers import CLOSE, FINALIZE, listen, refused, transcript
from tests.serve.faults import handshake
from tests.serve.live_helpers import (
    WAIT_S,
    HeldRecognizer,
    drop,
    noise,
    read_all,
    read_one,
    text_of,
    wait_until_away,
    wait_until_heard,
    wait_until_live,
)

if TYPE_CHECKING:
    from tests.serve.conftest import Running, Start

pytestmark = pytest.mark.usefixtures("no_traceback_on_the_server")
RESUMABLE: dict[str, Any] = {"resumable": "true"}


def test_a_dropped_stream_comes_back_and_nothing_is_lost_or_repeated(server: Running) -> None:
    pcm = noise(4.0)
    with listen(server, **RESUMABLE) as client:
        hello = read_one(client)
        client.send(pcm[:16_000].tobytes())
        client.send(FINALIZE)
        first = read_one(client)
        client.send(pcm[16_000:30_000].tobytes() + b"\x01")
        client.send(FINALIZE)
        assert read_one(client)["is_final"]
        drop(client)
    wait_until_away(server, hello["token"])
    with listen(server, **RESUMABLE, resume=hello["token"], finals=1) as client:
        again = read_one(client)
        client.send(pcm[again["received"] :].tobytes())
        client.send(CLOSE)
        messages = [first, *read_all(client)]
    assert (hello["type"], hello["received"], hello["finals"]) == ("Session", 0, 0)
    assert (again["token"], again["received"], again["finals"]) == (hello["token"], 30_000, 2)
    parts = [pcm[:16_000], pcm[16_000:30_000], pcm[30_000:]]
    assert transcript(messages) == " ".join(map(text_of, parts))


def test_a_final_that_was_on_its_way_when_the_client_dropped_is_told_when_it_comes_back(start: Start) -> None:
    recognizer, pcm = HeldRecognizer(), noise(0.9)
    server = start(recognizer)
    with listen(server, **RESUMABLE) as client:
        token = read_one(client)["token"]
        client.send(pcm.tobytes())
        client.send(CLOSE)
        wait_until_heard(client)
        drop(client)
    wait_until_away(server, token)
    recognizer.go.set()
    with listen(server, **RESUMABLE, resume=token, finals=0) as client:
        messages = read_all(client)
    assert [message["type"] for message in messages] == ["Session", "Results", "Metadata"]
    assert transcript(messages) == text_of(pcm)


def test_a_client_comes_back_before_the_server_knows_that_it_was_gone(server: Running) -> None:
    pcm = noise(1.2)
    with listen(server, **RESUMABLE) as old:
        token = read_one(old)["token"]
        old.send(pcm[:8_000].tobytes())
        old.send(FINALIZE)
        read_one(old)
        with listen(server, **RESUMABLE, resume=token, finals=1) as client:
            assert read_one(client)["received"] == 8_000
            client.send(pcm[8_000:].tobytes())
            client.send(CLOSE)
            assert transcript(read_all(client)) == text_of(pcm[8_000:])


def test_a_stream_cannot_be_resumed_with_a_wrong_token_another_query_or_unknown_finals(server: Running) -> None:
    with listen(server, **RESUMABLE) as client:
        token = read_one(client)["token"]
        drop(client)
    wait_until_away(server, token)
    for query, says in (
        ({"resume": "wrong", "finals": 0}, "no session"),
        ({"resume": token, "finals": 0, "interim_results": "true"}, "another query"),
        ({"resume": token, "finals": 1}, "not kept"),
    ):
        response = refused(server, **RESUMABLE, **query).response
        assert response.status_code == 404
        assert says in json.loads(response.body)["err_msg"]
    with listen(server, **RESUMABLE, resume=token, finals=0) as client:
        assert read_one(client)["token"] == token
        client.send(CLOSE)
        read_all(client)


def test_a_stream_cannot_be_resumed_after_the_grace_time(start: Start) -> None:
    server = start(grace_s=0.1)
    with listen(server, **RESUMABLE) as client:
        token = read_one(client)["token"]
        drop(client)
    wait_until_live(server, 0)
    assert refused(server, **RESUMABLE, resume=token, finals=0).response.status_code == 404


def test_a_client_without_a_proper_handshake_gets_no_place_to_come_back_to(start: Start) -> None:
    server = start(grace_s=600)
    path = "/v1/listen?encoding=linear16&sample_rate=16000&resumable=true"
    with socket.create_connection((server.host, server.port), WAIT_S) as client:
        client.sendall(handshake(path, Sec_WebSocket_Key="short"))
        assert client.recv(12) == b"HTTP/1.1 400"
    wait_until_live(server, 0)
