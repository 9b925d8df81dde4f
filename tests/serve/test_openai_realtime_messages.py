"""Every message of a Realtime transcription session in every state, and all that is malformed or refused by name."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosedError

from auricle.serve.openai_events import MAX_APPEND_BYTES
from tests.serve.openai_realtime_helpers import (
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
    from tests.serve.conftest import Running

AUDIO = noise(0.6, 1)
MANUAL: dict[str, Any] = {"turn_detection": None, "transcription": {"delay": "high"}}
STATES = {
    "nothing was sent": (),
    "settings were sent": ("same settings",),
    "audio waits": ("append",),
    "an utterance was committed": ("append", "commit"),
    "audio was cleared": ("append", "clear"),
    "audio follows a commit": ("append", "commit", "append"),
}
REFUSED = {
    "no JSON": ("{", "invalid_json", None),
    "endless JSON": ("[" * 100_000, "invalid_json", None),
    "no object": ("[]", "invalid_event", None),
    "no type": ("{}", "missing_required_parameter", "type"),
    "type of another type": ('{"type": ["append"]}', "invalid_value", "type"),
    "unknown type": ('{"type": "response.create"}', "invalid_value", "type"),
    "no audio": ('{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
    "audio of another type": ('{"type": "input_audio_buffer.append", "audio": 1}', "invalid_type", "audio"),
    "no base64": ('{"type": "input_audio_buffer.append", "audio": "AAA"}', "invalid_base64", "audio"),
    "no ASCII": ('{"type": "input_audio_buffer.append", "audio": "\u00e4AAA"}', "invalid_base64", "audio"),
    "half a sample": ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "invalid_audio", "audio"),
    "no session": ('{"type": "session.update"}', "invalid_type", "session"),
    "no session in the beta form": ('{"type": "transcription_session.update"}', "invalid_type", "session"),
}


class Model:
    """What the server has to answer, told from the messages alone; `told` is what came since the last item."""

    def __init__(self) -> None:
        self.waiting = b""
        self.has_audio = False
        self.told: list[dict[str, Any]] = []

    def play(self, client: Client, message: str) -> None:
        """Send a message and check the answer."""
        if message in REFUSED:
            text, *expected = REFUSED[message]
            client.socket.send(text)
            assert error_of(self._until(client, "error")) == tuple(expected), message
            return
        getattr(self, message.replace(" ", "_"))(client)

    def append(self, client: Client) -> None:
        client.append(AUDIO)
        self.waiting += AUDIO
        self.has_audio = True

    def empty_append(self, client: Client) -> None:
        client.append(b"")

    def commit(self, client: Client) -> None:
        client.send("input_audio_buffer.commit", event_id="mine")
        if not self.waiting:
            event = client.read()
            assert error_of(event) == ("input_audio_buffer_commit_empty", None)
            assert event["error"]["event_id"] == "mine"
            return
        completed = self._until(client, f"{TRANSCRIPTION}.completed", "input_audio_buffer.committed")
        assert completed["transcript"] == deltas(self.told) == expected_text(self.waiting)
        assert kinds(self.told).count("input_audio_buffer.committed") == 1
        self.waiting, self.told = b"", []

    def clear(self, client: Client) -> None:
        client.send("input_audio_buffer.clear")
        self._until(client, "input_audio_buffer.cleared")
        self.waiting, self.told = b"", []

    def same_settings(self, client: Client) -> None:
        client.update(turn_detection=None)
        self._until(client, "session.updated")

    def same_beta_settings(self, client: Client) -> None:
        client.send("transcription_session.update", session={"turn_detection": None, "input_audio_format": "pcm16"})
        self._until(client, "transcription_session.updated")

    def other_settings(self, client: Client) -> None:
        client.update(transcription={"delay": "low"})
        if self.has_audio:
            error = self._until(client, "error")
            assert error_of(error) == ("session_settings_fixed", "session.audio.input.transcription")
        else:
            self._until(client, "session.updated")

    def _until(self, client: Client, kind: str, *others: str) -> dict[str, Any]:
        """Read an answer, which may come amid what is heard, and return it."""
        events = client.read_until(kind)
        assert set(kinds(events)) <= {kind, *others, f"{TRANSCRIPTION}.delta"}
        self.told += events
        return events[-1]


MESSAGES = [
    *("append", "empty append", "commit", "clear", "same settings", "same beta settings", "other settings"),
    *REFUSED,
]


@pytest.mark.parametrize("state", STATES)
def test_every_message_is_answered_in_every_state_and_what_follows_is_right(server: Running, state: str) -> None:
    for message in MESSAGES:
        with started(server, **MANUAL) as client:
            model = Model()
            for step in (*STATES[state], message, "append", "commit"):
                model.play(client, step)
            assert model.waiting == b""


@pytest.mark.parametrize(
    ("audio_input", "code", "name"),
    [
        ({"format": {"type": "audio/pcm", "rate": 16000}}, "unsupported_value", "format.rate"),
        ({"format": {"type": "audio/opus"}}, "invalid_value", "format.type"),
        ({"format": "pcm16"}, "invalid_type", "format"),
        ({"noise_reduction": {"type": "near_field"}}, "unsupported_value", "noise_reduction"),
        ({"transcription": None}, "unsupported_value", "transcription"),
        ({"transcription": {"model": "whisper-9"}}, "model_not_found", "transcription.model"),
        ({"transcription": {"model": 1}}, "invalid_type", "transcription.model"),
        ({"transcription": {"prompt": "names"}}, "unsupported_value", "transcription.prompt"),
        ({"transcription": {"keywords": ["name"]}}, "unsupported_value", "transcription.keywords"),
        ({"transcription": {"languages": ["en", "hi"]}}, "unsupported_value", "transcription.languages"),
        ({"transcription": {"delay": "none"}}, "invalid_value", "transcription.delay"),
        ({"transcription": {"speed": 1}}, "unknown_parameter", "transcription.speed"),
        ({"turn_detection": {"type": "semantic_vad"}}, "unsupported_value", "turn_detection.type"),
        ({"turn_detection": {"type": "vad"}}, "invalid_value", "turn_detection.type"),
        ({"turn_detection": {}}, "missing_required_parameter", "turn_detection.type"),
        ({"turn_detection": {"type": "server_vad", "threshold": 1.5}}, "invalid_value", "turn_detection.threshold"),
        (
            {"turn_detection": {"type": "server_vad", "silence_duration_ms": -1}},
            "invalid_value",
            "turn_detection.silence_duration_ms",
        ),
        (
            {"turn_detection": {"type": "server_vad", "create_response": True}},
            "unsupported_value",
            "turn_detection.create_response",
        ),
        ({"volume": 3}, "unknown_parameter", "volume"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_refused_by_name(
    server: Running, audio_input: dict[str, Any], code: str, name: str
) -> None:
    with started(server, **MANUAL) as client:
        client.update(**audio_input)
        assert error_of(client.read()) == (code, f"session.audio.input.{name}")
        Model().play(client, "same settings")


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({}, "missing_required_parameter", "session.type"),
        ({"type": "realtime"}, "invalid_value", "session.type"),
        ({"type": "transcription", "audio": {"output": {}}}, "unknown_parameter", "session.audio.output"),
        (
            {"type": "transcription", "include": ["item.input_audio_transcription.logprobs"]},
            "unsupported_value",
            "session.include",
        ),
    ],
)
def test_a_session_that_is_no_transcription_is_refused_by_name(
    server: Running, session: dict[str, Any], code: str, param: str
) -> None:
    with started(server) as client:
        client.send("session.update", session=session, event_id="mine")
        answer = client.read()
        assert error_of(answer) == (code, param)
        assert answer["error"]["event_id"] == "mine"
        assert answer["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"input_audio_format": "opus"}, "invalid_value", "session.input_audio_format"),
        ({"input_audio_transcription": {"model": 1}}, "invalid_type", "session.input_audio_transcription.model"),
        ({"turn_detection": {"type": "semantic_vad"}}, "unsupported_value", "session.turn_detection.type"),
        ({"modalities": ["audio"]}, "unknown_parameter", "session.modalities"),
        ({"client_secret": {}}, "unknown_parameter", "session.client_secret"),
    ],
)
def test_the_beta_form_is_refused_in_its_own_names(
    server: Running, session: dict[str, Any], code: str, param: str
) -> None:
    with started(server) as client:
        client.send("transcription_session.update", session=session)
        assert error_of(client.read()) == (code, param)


def test_the_beta_form_is_carried_out_and_answered_in_its_own_names(server: Running) -> None:
    with started(server) as client:
        settings = {
            "input_audio_format": "g711_ulaw",
            "input_audio_transcription": {"model": "null", "language": "en", "prompt": ""},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 700},
            "modalities": ["text"],
            "include": None,
        }
        client.send("transcription_session.update", session=settings)
        told = client.read()
        assert told["type"] == "transcription_session.updated"
        assert told["session"]["input_audio_format"] == "g711_ulaw"
        assert told["session"]["turn_detection"]["silence_duration_ms"] == 700
        assert told["session"]["input_audio_transcription"]["language"] == "en"


def test_an_update_leaves_what_it_does_not_name_and_tells_all_that_is_in_effect(server: Running) -> None:
    with started(server) as client:
        client.update(transcription={"language": "hi"}, turn_detection={"type": "server_vad", "prefix_padding_ms": 0})
        client.read()
        client.update(transcription={"delay": "xhigh"}, format={"type": "audio/pcma"})
        session = client.read()["session"]
        assert session["audio"]["input"] == {
            "format": {"type": "audio/pcma", "rate": 8000},
            "noise_reduction": None,
            "transcription": {"model": "null", "language": "hi", "delay": "xhigh"},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 0,
                "silence_duration_ms": 500,
            },
        }
        assert session["latency"] == {"chunk_ms": 1120, "lookahead_ms": 0}


@pytest.mark.parametrize(
    ("delay", "chunk_ms"), [("minimal", 80), ("low", 100), ("medium", 160), ("high", 560), ("xhigh", 1120)]
)
def test_the_delay_chooses_the_latency_class(server: Running, delay: str, chunk_ms: int) -> None:
    with started(server) as client:
        client.update(transcription={"delay": delay})
        assert client.read()["session"]["latency"]["chunk_ms"] == chunk_ms


def test_a_binary_message_is_refused_and_the_session_goes_on(server: Running) -> None:
    with started(server, **MANUAL) as client:
        client.socket.send(AUDIO)
        assert error_of(client.read()) == ("invalid_event", None)
        Model().play(client, "same settings")


def test_more_audio_than_one_event_may_hold_is_refused_by_name(server: Running) -> None:
    with started(server, **MANUAL) as client:
        client.append(bytes(MAX_APPEND_BYTES + 2))
        assert error_of(client.read()) == ("audio_too_large", "audio")
        model = Model()
        model.play(client, "append")
        model.play(client, "commit")


def test_a_message_beyond_the_limit_of_the_server_ends_that_session_alone(server: Running) -> None:
    with started(server, **MANUAL) as neighbour:
        with started(server) as client, pytest.raises(ConnectionClosedError):  # noqa: PT012  either may see it
            client.append(bytes(20 * 1024 * 1024))
            client.read()
        model = Model()
        model.play(neighbour, "append")
        model.play(neighbour, "commit")


def test_every_event_has_an_id_of_its_own_and_items_are_chained(server: Running) -> None:
    events: list[dict[str, Any]] = []
    with connected(server) as client:
        events.append(client.read())
        client.update(turn_detection=None)
        for _ in range(3):
            client.append(AUDIO)
            client.send("input_audio_buffer.commit")
            events += client.read_until(f"{TRANSCRIPTION}.completed")
    ids = [event["event_id"] for event in events]
    assert len(set(ids)) == len(ids)
    committed = [event for event in events if event["type"] == "input_audio_buffer.committed"]
    assert [event["previous_item_id"] for event in committed] == [None, *(e["item_id"] for e in committed[:-1])]
    assert len({event["item_id"] for event in committed}) == 3


def test_an_event_id_that_json_can_hold_and_utf8_cannot_comes_back(server: Running) -> None:
    with started(server) as client:
        client.socket.send(json.dumps({"type": "nonsense", "event_id": 7}))
        assert client.read()["error"]["event_id"] is None
        client.socket.send(json.dumps({"type": "nonsense", "event_id": "\ud800"}))
        assert client.read()["error"]["event_id"] == "\ud800"
        client.socket.send(json.dumps({"type": "input_audio_buffer.commit", "event_id": "a:\ud800"}))
        assert client.read()["error"]["event_id"] == "a:\ud800"


def test_audio_in_tiny_pieces_and_in_one_large_piece_gives_the_same_text(server: Running) -> None:
    data = noise(6.0, 5)
    with started(server, **MANUAL) as client:
        for start in range(0, len(data), 100):
            client.append(data[start : start + 100])
        client.send("input_audio_buffer.commit")
        tiny = client.read_until(f"{TRANSCRIPTION}.completed")
        client.socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(data).decode()}))
        client.send("input_audio_buffer.commit")
        large = client.read_until(f"{TRANSCRIPTION}.completed")
    assert tiny[-1]["transcript"] == large[-1]["transcript"] == expected_text(data)
    assert deltas(tiny) == deltas(large) == expected_text(data)
