"""Deepgram's dialect: the vendor's own client, encodings, every message in every state, the ends of a stream."""

from __future__ import annotations

import json
import threading
import time
import warnings
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from auricle.audio import PcmFormat
from auricle.serve.live_audio import PIECE_BYTES
from auricle.serve.settings import load_settings
from tests.live.spoken import pcm_of, planted
from tests.serve.conftest import running
from tests.serve.live_helpers import (
    FailingRecognizer,
    SlowRecognizer,
    cut,
    decoded,
    drop,
    finals,
    half_open,
    noise,
    null_text,
    read_all,
    read_failed,
    read_one,
    text_of,
    wait_until_live,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray
    from websockets.sync.client import ClientConnection

    from tests.serve.conftest import Running, Start

KEY = "a-key-of-some-length"
CLOSE, FINALIZE, KEEP_ALIVE = '{"type":"CloseStream"}', '{"type":"Finalize"}', '{"type":"KeepAlive"}'
RESUMABLE: dict[str, Any] = {"resumable": "true"}


@pytest.fixture(autouse=True)
def _no_traceback_on_the_server(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    records = [record for record in caplog.get_records("call") if not record.name.startswith("websockets.client")]
    assert not [record.getMessage() for record in records if record.exc_info]


def listen(server: Running, headers: dict[str, str] | None = None, **query: Any) -> ClientConnection:
    options = urlencode({"encoding": "linear16", "sample_rate": 16_000, **query}, doseq=True)
    return connect(f"{server.ws_url}/v1/listen?{options}", additional_headers=headers)


def refused(server: Running, **query: Any) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught:
        enter(listen(server, **query))
    return caught.value


def enter(connection: AbstractContextManager[Any]) -> None:
    with connection:
        pytest.fail("the server let the connection in")


def speech(seconds: float) -> NDArray[np.int16]:
    """Return 16-bit speech that begins at once."""
    return pcm_of(planted("demo-sentence-08", "demo-sentence-04").samples)[: round(seconds * 16_000)]


def transcript(messages: list[Any]) -> str:
    return " ".join(message["channel"]["alternatives"][0]["transcript"] for message in finals(messages)).strip()


def of_type(messages: list[Any], kind: str) -> list[Any]:
    return [message for message in messages if message["type"] == kind]


def sdk_client(server: Running, key: str = KEY) -> Any:
    """Return deepgram-sdk's live client, pointed at our server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own use of websockets and pydantic
        from deepgram import DeepgramClient
        from deepgram.environment import DeepgramClientEnvironment

        environment = DeepgramClientEnvironment(
            base=server.url, production=server.ws_url, agent=server.ws_url, agent_rest=server.url
        )
        return DeepgramClient(api_key=key, environment=environment).listen.v1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_vendors_client_gets_partials_and_finals_of_the_very_samples(server: Running) -> None:
    from deepgram.core.events import EventType

    pcm, messages = speech(3.3), list[Any]()
    query = {"encoding": "linear16", "sample_rate": 16_000, "interim_results": "true", "vad_events": "true"}
    with sdk_client(server).connect(model="null", language="en", **query) as client:
        client.on(EventType.MESSAGE, messages.append)
        reader = threading.Thread(target=client.start_listening)
        reader.start()
        for packet in cut(pcm.tobytes(), 3200):
            client.send_media(packet)
        client.send_keep_alive()
        client.send_finalize()
        client.send_close_stream()
        reader.join(10)
    kinds = [type(message).__name__ for message in messages]
    heard = [message for message in messages if message.type == "Results" and message.is_final]
    assert heard[0].channel.alternatives[0].transcript == text_of(pcm)
    assert heard[0].from_finalize
    assert heard[0].speech_final
    assert heard[0].channel.alternatives[0].words[1].start == 0.5
    assert kinds[0] == "ListenV1SpeechStarted"
    assert kinds[-1] == "ListenV1Metadata"
    assert messages[-1].duration == pytest.approx(3.3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_vendors_client_needs_a_key_where_there_are_keys(start: Start, tmp_path: Path) -> None:
    keys = tmp_path / "api-keys.json"
    keys.write_text(json.dumps([KEY]))
    server = start(api_keys=keys)
    with sdk_client(server).connect(model="null", encoding="linear16", sample_rate=16_000):
        pass
    with pytest.raises(InvalidStatus) as caught:
        enter(sdk_client(server, "another-key-of-some-length").connect(model="null", encoding="linear16"))
    assert caught.value.response.status_code == 401
    assert json.loads(caught.value.response.body)["err_code"] == "INVALID_AUTH"
    options = "encoding=linear16&sample_rate=16000"
    with connect(f"{server.ws_url}/v1/listen?{options}", subprotocols=["token", KEY]) as client:  # type: ignore[list-item]  # a pair by Deepgram's rules
        assert client.subprotocol == "token"
    with pytest.raises(InvalidStatus):
        enter(connect(f"{server.ws_url}/v1/listen?{options}"))


@pytest.mark.parametrize(
    ("encoding", "ours", "rate", "channels"),
    [
        ("linear16", "s16le", 16_000, 1),
        ("linear16", "s16le", 48_000, 2),
        ("linear32", "f32le", 16_000, 1),
        ("linear32", "f32le", 44_100, 1),
        ("mulaw", "mulaw", 8_000, 1),
        ("alaw", "alaw", 16_000, 1),
    ],
)
@pytest.mark.parametrize("size", [100, 4_801])
def test_every_encoding_gives_the_text_of_its_samples_however_it_is_cut(
    server: Running, encoding: str, ours: Any, rate: int, channels: int, size: int
) -> None:
    pcm = noise(1.3 * channels, rate=rate)
    data = (pcm.astype("<f4") / 30_000).tobytes() if ours == "f32le" else pcm.tobytes()
    if ours in {"mulaw", "alaw"}:
        data = pcm.view(np.uint8)[: len(pcm)].tobytes()
    with listen(server, encoding=encoding, sample_rate=rate, channels=channels) as client:
        for packet in cut(data, size):
            client.send(packet)
        client.send(CLOSE)
        messages = read_all(client)
    assert transcript(messages) == null_text(decoded(data, PcmFormat(ours, rate, channels)))


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"encoding": "flac"}, "flac"),
        ({"encoding": ""}, "encoding"),
        ({"sample_rate": "fast"}, "sample_rate"),
        ({"sample_rate": "9" * 400}, "sample_rate"),
        ({"sample_rate": 7}, "7"),
        ({"channels": 0}, "channels"),
        ({"multichannel": "true"}, "multichannel"),
        ({"punctuate": "true"}, "punctuate"),
        ({"smart_format": "true"}, "smart_format"),
        ({"diarize": "true"}, "diarize"),
        ({"keyterm": "auricle"}, "keyterm"),
        ({"callback": "http://localhost"}, "callback"),
        ({"version": "2020-01-01"}, "version"),
        ({"model": "nova-3"}, "nova-3"),
        ({"interim_results": "perhaps"}, "interim_results"),
        ({"endpointing": "-5"}, "endpointing"),
        ({"utterance_end_ms": 1000}, "interim_results"),
        ({"extra": "no-colon"}, "extra"),
        ({"chunk_ms": 123}, "123"),
        ({"resume": "token"}, "finals"),
        ({"resumable": "true", "sample_rate": 8000}, "resumable"),
        ({"interim_results": ["true", "false"]}, "more than once"),
        ({"colour": "blue\r\nx-evil: 1"}, "colour"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name_before_the_upgrade(
    server: Running, query: dict[str, Any], named: str
) -> None:
    response = refused(server, **query).response
    body = json.loads(response.body)
    assert response.status_code == 400
    assert body["err_code"] == "INVALID_QUERY_PARAMETER"
    assert named in body["err_msg"]
    assert named in response.headers["dg-error"]
    assert response.headers["dg-request-id"] == body["request_id"]
    assert "x-evil" not in response.headers


def test_a_container_without_an_encoding_is_refused_by_name(server: Running) -> None:
    with pytest.raises(InvalidStatus) as caught:
        enter(connect(f"{server.ws_url}/v1/listen"))
    assert "containers" in caught.value.response.headers["dg-error"]


def test_what_is_switched_off_is_accepted(server: Running) -> None:
    with listen(server, punctuate="false", smart_format="False", multichannel="false", version="latest") as client:
        client.send(CLOSE)
        assert of_type(read_all(client), "Metadata")


def test_tags_and_extras_come_back_in_the_metadata(server: Running) -> None:
    with listen(server, tag=["a", "b"], extra="call:17") as client:
        client.send(CLOSE)
        metadata = read_all(client)[-1]
    assert metadata["tags"] == ["a", "b"]
    assert metadata["extra"] == {"call": "17"}
    assert metadata["request_id"] == client.response.headers["dg-request-id"]  # type: ignore[union-attr]  # it is there once connected


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
        for start in range(0, len(pcm), 1600):  # paced, because partials that nobody has read yet are replaced
            client.send(pcm[start : start + 1600].tobytes())
            time.sleep(0.05)
        client.send(CLOSE)
        ended = of_type(read_all(client), "UtteranceEnd")
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


@pytest.fixture(scope="module")
def slow_server() -> Iterator[Running]:
    """A server whose steps take long enough for a client to act before they end."""
    with running(load_settings({"engine": "null", "port": 0, "drain_s": 0.0}), SlowRecognizer(0.1)) as one:
        yield one


@pytest.mark.parametrize("name", [*MESSAGES, "CloseStream", "empty binary"])
def test_after_close_stream_audio_finalize_and_nonsense_get_an_error_and_the_final_still_comes(
    slow_server: Running, name: str
) -> None:
    message, _ = MESSAGES.get(name, (CLOSE if name == "CloseStream" else b"", None))
    pcm = noise(0.2)
    with listen(slow_server) as client:
        client.send(pcm.tobytes())
        client.send(CLOSE)
        client.send(message)
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
    with listen(start(SlowRecognizer(0.05))) as client:
        client.send(noise(0.4).tobytes())
        for _ in range(150):
            client.send(FINALIZE)
        client.send(CLOSE)
        messages = read_all(client)
    assert of_type(messages, "Error")
    assert len(of_type(messages, "Results")) + len(of_type(messages, "Error")) == 151


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


def test_stamps_tell_the_servers_own_times_in_their_order(server: Running) -> None:
    with listen(server, stamps="true", interim_results="true") as client:
        client.send(noise(1.2).tobytes())
        client.send('{"type":"CloseStream"}')
        results = [message for message in read_all(client) if message["type"] == "Results"]
    assert results
    for message in results:
        stamps = message["metadata"]["stamps"]
        assert list(stamps) == ["received", "ready", "tick", "step", "stepped", "sent"]
        assert list(stamps.values()) == sorted(stamps.values())


def test_an_idle_stream_is_told_and_ended_and_keep_alive_prevents_it(start: Start) -> None:
    server = start(idle_s=0.6)
    with listen(server) as client, listen(server) as kept:
        assert client.response is not None
        assert client.response.headers["auricle-idle-limit"] == "0.6"
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
        wait_until_live(server, 1)
        wait_until_live(server, 0)


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


def test_a_client_that_sends_all_at_once_is_slowed_and_loses_nothing(start: Start) -> None:
    server = start(SlowRecognizer(0.001), buffer_s=0.5)
    pcm, most = noise(12.0), 0
    hub = server.service.hub
    assert hub is not None
    with listen(server, chunk_ms=160) as client:
        wait_until_live(server, 1)
        session = next(iter(hub._sessions.values()))
        client.send(pcm.tobytes())
        client.send(CLOSE)
        for _ in range(200):
            most = max(most, session.stream.buffer.samples)
            if session.ended:
                break
            threading.Event().wait(0.002)
        assert transcript(read_all(client)) == text_of(pcm)
    assert 0 < most <= 0.5 * 16_000 + PIECE_BYTES // 2


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
    threading.Event().wait(0.1)
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
    server, pcm = start(SlowRecognizer(0.05)), noise(0.9)
    with listen(server, **RESUMABLE) as client:
        token = read_one(client)["token"]
        client.send(pcm.tobytes())
        client.send(CLOSE)
        assert server.service.hub is not None
        session = server.service.hub.find(token)
        assert session is not None
        while not session.ending:
            time.sleep(0.001)
        drop(client)
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


def test_a_stream_cannot_be_resumed_with_a_wrong_token_another_query_or_unknown_finals(start: Start) -> None:
    server = start(grace_s=0.5)
    with listen(server, **RESUMABLE) as client:
        token = read_one(client)["token"]
        drop(client)
    threading.Event().wait(0.1)
    for query in (
        {"resume": "wrong", "finals": 0},
        {"resume": token, "finals": 0, "interim_results": "true"},
        {"resume": token, "finals": 1},
    ):
        assert refused(server, **RESUMABLE, **query).response.status_code == 404
    with connect(f"{server.ws_url}/sherpa?resumable=true") as other:
        other.recv(5)
    wait_until_live(server, 0)
    assert refused(server, **RESUMABLE, resume=token, finals=0).response.status_code == 404
