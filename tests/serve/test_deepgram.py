"""Deepgram's dialect: the vendor's own client, encodings, and what the query may ask for."""

from __future__ import annotations

import json
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from auricle.audio import PcmFormat
from tests.serve.deepgram_helpers import CLOSE, enter, listen, of_type, refused, speech, transcript
from tests.serve.live_helpers import WAIT_S, cut, decoded, noise, null_text, read_all, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.serve.conftest import Running, Start

pytestmark = pytest.mark.usefixtures("no_traceback_on_the_server")
KEY = "a-key-of-some-length"


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
        reader.join(WAIT_S)
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
