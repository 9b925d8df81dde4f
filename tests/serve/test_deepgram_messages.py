"""Deepgram's messages: what Finalize, endpoints and CloseStream do, and every message in every state."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from auricle.serve.deepgram import MAX_FINALIZES
from tests.serve.deepgram_helpers import CLOSE, FINALIZE, KEEP_ALIVE, listen, of_type, transcript
from tests.serve.live_helpers import HeldRecognizer, cut, noise, read_all, read_one, text_of, wait_until_heard

if TYPE_CHECKING:
    from tests.serve.conftest import Running, Start

pytestmark = pytest.mark.usefixtures("no_traceback_on_the_server")


def test_finalize_answers_exactly_there_and_what_follows_is_a_new_utterance(server: Running) -> None:
    first, second = noise(0.83), noise(0.71, seed=1)
    with listen(server) as client:
        client.send(first.tobytes())
        client.send(FINALIZE)
        client.send(FINALIZE)
        client.send(second.tobytes())
        client.send(CLOSE)
        results = of_type(read_all(client), "Results")
    texts = [result["channel"]["alternatives"][0]["transcript"] for result in results]
    assert texts == [text_of(first), "", text_of(second)]
    assert [result["from_finalize"] for result in results] == [True, True, False]
    assert [result["start"] for result in results] == [0.0, 0.83, 0.83]
    assert results[2]["channel"]["alternatives"][0]["words"][0]["start"] == pytest.approx(0.83)


def test_utterance_end_comes_once_after_the_gap(server: Running) -> None:
    pcm = noise(0.96)
    with listen(server, interim_results="true", utterance_end_ms=200) as client:
        client.send(pcm[:12_800].tobytes())
        messages = [read_one(client)]
        while messages[-1]["type"] != "UtteranceEnd":
            messages.append(read_one(client))
        client.send(pcm[12_800:].tobytes())
        client.send(CLOSE)
        ended = of_type([*messages, *read_all(client)], "UtteranceEnd")
    assert ended == [{"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 0.5}]


def test_endpointing_false_leaves_the_cap_alone_which_is_no_end_of_speech(server: Running) -> None:
    pcm = noise(21.0)
    with listen(server, endpointing="false", chunk_ms=560) as client:
        client.send(pcm.tobytes())
        client.send(CLOSE)
        results = of_type(read_all(client), "Results")
    cap = 322_560  # samples of the first whole chunk that reaches 20 s
    assert [result["duration"] for result in results] == [20.16, 0.84]
    assert [result["speech_final"] for result in results] == [False, True]
    assert transcript(results) == f"{text_of(pcm[:cap])} {text_of(pcm[cap:])}"


MESSAGES: dict[str, tuple[str | bytes, str | None]] = {
    "audio": (noise(0.1).tobytes(), None),
    "half a sample": (b"\x01", None),
    "KeepAlive": (KEEP_ALIVE, None),
    "Finalize": (FINALIZE, None),
    "unknown type": ('{"type":"Configure"}', "SchemaError"),
    "no JSON": ("{", "SchemaError"),
    "deep JSON": ("[" * 100_000, "SchemaError"),
    "no object": ("[1]", "SchemaError"),
    "no type": ("{}", "SchemaError"),
    "wrong type": ('{"type":7}', "SchemaError"),
    "empty text": ("", "SchemaError"),
}
STATES: dict[str, list[str | bytes]] = {
    "open": [],
    "with audio": [noise(0.2).tobytes()],
    "finalizing": [noise(0.2).tobytes(), FINALIZE],
    "finalized": [FINALIZE],
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_in_every_open_state_is_served_or_gets_its_typed_error(
    server: Running, state: str, name: str
) -> None:
    message, variant = MESSAGES[name]
    with listen(server) as client:
        for earlier in STATES[state]:
            client.send(earlier)
        client.send(message)
        client.send(CLOSE)
        messages = read_all(client)
    assert [error["variant"] for error in of_type(messages, "Error")] == ([variant] if variant else [])
    assert messages[-1]["type"] == "Metadata"
    assert client.close_code == 1000


@pytest.mark.parametrize("name", [*MESSAGES, "CloseStream", "empty binary"])
def test_after_close_stream_audio_finalize_and_nonsense_get_an_error_and_the_final_still_comes(
    start: Start, name: str
) -> None:
    message, _ = MESSAGES.get(name, (CLOSE if name == "CloseStream" else b"", None))
    pcm, recognizer = noise(0.2), HeldRecognizer()
    with listen(start(recognizer)) as client:
        client.send(pcm.tobytes())
        client.send(CLOSE)
        client.send(message)
        wait_until_heard(client)
        recognizer.go.set()
        messages = read_all(client)
    harmless = {"KeepAlive", "half a sample", "CloseStream", "empty binary"}
    assert len(of_type(messages, "Error")) == (name not in harmless)
    assert transcript(messages) == text_of(pcm)
    assert client.close_code == 1000


def test_an_empty_binary_message_closes_the_stream_as_deepgrams_does(server: Running) -> None:
    pcm = noise(0.4)
    with listen(server) as client:
        client.send(pcm.tobytes())
        client.send(b"")
        assert transcript(read_all(client)) == text_of(pcm)


def test_too_many_finalizes_at_once_are_refused(start: Start) -> None:
    recognizer = HeldRecognizer()
    with listen(start(recognizer)) as client:
        client.send(noise(0.4).tobytes())
        for _ in range(150):
            client.send(FINALIZE)
        errors = [read_one(client) for _ in range(150 - MAX_FINALIZES)]
        client.send(CLOSE)
        recognizer.go.set()
        results = of_type(read_all(client), "Results")
    assert {error["variant"] for error in errors} == {"SchemaError"}
    assert len(results) == MAX_FINALIZES + 1


def test_streams_of_different_chunks_run_side_by_side(server: Running) -> None:
    pcms = {chunk_ms: noise(2.3, seed=chunk_ms) for chunk_ms in (80, 100, 160, 560, 1120)}
    with ExitStack() as stack:
        clients = {chunk_ms: stack.enter_context(listen(server, chunk_ms=chunk_ms)) for chunk_ms in pcms}
        for packet in range(23):
            for chunk_ms, client in clients.items():
                client.send(pcms[chunk_ms][packet * 1600 : (packet + 1) * 1600].tobytes())
        for chunk_ms, client in clients.items():
            client.send(CLOSE)
            assert transcript(read_all(client)) == text_of(pcms[chunk_ms])


def test_every_partial_says_how_far_it_covers(server: Running) -> None:
    with listen(server, interim_results="true", every_partial="true", chunk_ms=100) as client:
        covered = []
        for packet in cut(noise(0.8).tobytes(), 3200):
            client.send(packet)
            result = read_one(client)
            covered.append(round(result["start"] + result["duration"], 3))
    assert covered == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
