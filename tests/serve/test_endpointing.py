"""Where utterances end in each dialect, by voice or by words, over real sockets and with real speech."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pytest
from websockets.sync.client import connect

from tests.live.spoken import RATE, pcm_of, planted
from tests.serve.faults import faultless
from tests.serve.live_helpers import cut, finals, read_all, text_of
from tests.serve.openai_realtime_helpers import PCM, TRANSCRIPTION, deltas, expected_text, kinds, started

if TYPE_CHECKING:
    from tests.serve.conftest import Running, Start

TALK = planted(0.8, "demo-sentence-08", 0.9, "demo-digits-24", 0.9)
"""Voice, by the detector: 0.83 to 3.30 s, and 4.16 to 5.47 s."""
SPEECH = pcm_of(TALK.samples)
SPEECH_24K = pcm_of(TALK.samples, PCM.rate).tobytes()
COMPLETED, COMMITTED = f"{TRANSCRIPTION}.completed", "input_audio_buffer.committed"
STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"
CLOSE = '{"type":"CloseStream"}'
WINDOW_S = 0.033


def deepgram(server: Running, **query: Any) -> list[Any]:
    """Return what Deepgram's dialect answers to the talk."""
    return answers(server.ws_url, **query)


def answers(url: str, **query: Any) -> list[Any]:
    options = urlencode({"encoding": "linear16", "sample_rate": RATE, **query})
    with connect(f"{url}/v1/listen?{options}") as client:
        for packet in cut(SPEECH.tobytes(), 3200):
            client.send(packet)
        client.send(CLOSE)
        return read_all(client)


def ends(messages: list[Any]) -> list[float]:
    """Return where finals end that are the end of speech, but for the last."""
    return [final["start"] + final["duration"] for final in finals(messages)[:-1] if final["speech_final"]]


def openai(server: Running, utterances: int, **turn_detection: Any) -> list[list[dict[str, Any]]]:
    """Return what OpenAI's dialect tells of each utterance of the talk."""
    with started(server, turn_detection={"type": "server_vad", **turn_detection}) as client:
        client.append(SPEECH_24K)
        return [client.read_until(COMPLETED) for _ in range(utterances)]


def of(events: list[dict[str, Any]], kind: str, field: str) -> list[float]:
    return [event[field] / 1000 for event in events if event["type"] == kind]


class TestOpenAI:
    def test_speech_starts_and_stops_by_voice_and_its_item_is_committed(self, server: Running) -> None:
        for events, (start_s, stop_s) in zip(openai(server, 2), TALK.spans, strict=True):
            told = [kind for kind in kinds(events) if kind != f"{TRANSCRIPTION}.delta"]
            assert told == [STARTED, STOPPED, COMMITTED, COMPLETED]
            assert of(events, STARTED, "audio_start_ms") == [pytest.approx(start_s - 0.3, abs=0.1)]
            assert of(events, STOPPED, "audio_end_ms") == [pytest.approx(stop_s, abs=0.1)]
            assert deltas(events) == events[-1]["transcript"] != ""

    def test_the_silence_that_ends_an_utterance_is_the_clients(self, server: Running) -> None:
        for silence_ms in (200, 700):
            first, _ = openai(server, 2, silence_duration_ms=silence_ms)
            stop_s = of(first, STOPPED, "audio_end_ms")[0]
            assert first[-1]["usage"]["seconds"] == pytest.approx(stop_s + silence_ms / 1000, abs=WINDOW_S)

    def test_the_padding_is_the_clients(self, server: Running) -> None:
        starts = [of(openai(server, 1, prefix_padding_ms=ms)[0], STARTED, "audio_start_ms")[0] for ms in (0, 500, 9000)]
        assert starts[0] - starts[1] == pytest.approx(0.5)
        assert starts[2] == 0

    def test_the_threshold_is_the_clients(self, server: Running) -> None:
        starts = [of(openai(server, 1, threshold=value)[0], STARTED, "audio_start_ms")[0] for value in (0.1, 0.99)]
        assert starts[0] < starts[1]

    def test_a_pause_within_the_silence_ends_nothing_until_the_commit(self, server: Running) -> None:
        with started(server, turn_detection={"type": "server_vad", "silence_duration_ms": 2000}) as client:
            client.append(SPEECH_24K)
            client.send("input_audio_buffer.commit")
            events = client.read_until(COMPLETED)
        assert kinds(events).count(STARTED) == 1
        assert STOPPED not in kinds(events)
        assert events[-1]["transcript"] == expected_text(SPEECH_24K)

    def test_without_turn_detection_speech_is_not_told(self, server: Running) -> None:
        with started(server, turn_detection=None) as client:
            client.append(SPEECH_24K)
            client.send("input_audio_buffer.commit")
            events = client.read_until(COMPLETED)
        assert set(kinds(events)) == {f"{TRANSCRIPTION}.delta", COMMITTED, COMPLETED}
        assert events[-1]["transcript"] == expected_text(SPEECH_24K)


class TestDeepgram:
    def test_endpointing_in_milliseconds_is_silence_of_voice(self, server: Running) -> None:
        for silence_ms in (100, 300, 700):
            found = ends(deepgram(server, endpointing=silence_ms))
            wanted = [3.296 + silence_ms / 1000, 5.472 + silence_ms / 1000]
            assert found == [pytest.approx(end_s, abs=WINDOW_S) for end_s in wanted]

    def test_endpointing_true_is_half_a_second_of_silence(self, server: Running) -> None:
        wanted = [pytest.approx(3.8, abs=WINDOW_S), pytest.approx(5.97, abs=WINDOW_S)]
        assert ends(deepgram(server, endpointing="true")) == wanted

    def test_endpoints_lose_and_repeat_no_sample(self, server: Running) -> None:
        told = finals(deepgram(server, endpointing=300))
        edges = [round((final["start"] + final["duration"]) * RATE) for final in told]
        texts = [final["channel"]["alternatives"][0]["transcript"] for final in told]
        assert texts == [text_of(part) for part in np.split(SPEECH, edges[:-1])]
        assert edges[-1] == len(SPEECH)

    @pytest.mark.parametrize("endpointing", [{}, {"endpointing": "false"}, {"endpointing": "300"}])
    def test_vad_events_tell_where_speech_starts_whatever_ends_utterances(
        self, server: Running, endpointing: dict[str, str]
    ) -> None:
        told = deepgram(server, vad_events="true", **endpointing)
        events = [message for message in told if message["type"] == "SpeechStarted"]
        assert [event["timestamp"] for event in events] == [0.832, 4.16]
        assert all(event["channel"] == [0, 1] for event in events)

    def test_without_vad_events_no_start_is_told(self, server: Running) -> None:
        told = deepgram(server, endpointing="300")
        assert not [message for message in told if message["type"] == "SpeechStarted"]

    def test_endpointing_false_ends_nothing_though_speech_is_told(self, server: Running) -> None:
        assert len(finals(deepgram(server, endpointing="false", vad_events="true"))) == 1

    def test_without_endpointing_the_setting_of_the_server_holds(self, start: Start) -> None:
        assert ends(deepgram(start())) == [], "the null engine's words never pause"
        assert len(ends(deepgram(start(endpointing="voice")))) == 2
        assert len(ends(deepgram(start(endpointing="both")))) == 2


class TestSherpa:
    def play(self, server: Running) -> list[Any]:
        with connect(server.ws_url) as client:
            for packet in cut(TALK.samples.astype("<f4").tobytes(), 6400):
                client.send(packet)
            client.send("Done")
            answers = []
            for message in client:
                answers.append(message)
                if message == "Done!":
                    break
        return [json.loads(answer) for answer in answers[:-1]]

    def test_words_end_segments_unless_the_server_is_told_otherwise(self, start: Start) -> None:
        assert len(finals(self.play(start()))) == 1
        assert len(finals(self.play(start(endpointing="voice")))) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems share one listening socket")
def test_voice_ends_utterances_in_several_processes_where_it_does_in_one(server: Running) -> None:
    query = {"endpointing": 300, "vad_events": "true"}
    wanted = [facts(message) for message in deepgram(server, **query)]
    with faultless("--engine", "null", "--admission", "off", "--workers", "2") as process:
        url = process.url.replace("http", "ws")
        for _ in range(6):
            assert [facts(message) for message in answers(url, **query)] == wanted
    assert [kind for kind, *_ in wanted] == [
        "SpeechStarted",
        "Results",
        "SpeechStarted",
        "Results",
        "Results",
        "Metadata",
    ]


def facts(message: Any) -> tuple[Any, ...]:
    """Return what a message says, but for the names of its stream."""
    said = ("timestamp", "start", "duration", "is_final", "speech_final", "channel")
    return message["type"], *(message.get(name) for name in said)
