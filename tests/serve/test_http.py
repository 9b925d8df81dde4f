"""Files over HTTP, sent by OpenAI's own SDK: every format, every option, honoured or refused by name."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import openai
import pytest

from auricle.corpus import open_corpus
from tests.serve.recordings import RATE, GatedRecognizer, noise, wav

if TYPE_CHECKING:
    from pathlib import Path

    from tests.serve.conftest import Running, Start

SPOKEN = noise(3.2)
WAV = ("noise.wav", wav(SPOKEN), "audio/wav")


def words(samples: np.ndarray[Any, np.dtype[np.int16]]) -> list[str]:
    """What the null engine says: one word per half second, the checksum of its samples as 16-bit PCM."""
    pieces = [samples[start : start + RATE // 2] for start in range(0, len(samples), RATE // 2)]
    return [f"{index}:{zlib.crc32(heard(piece)):08x}" for index, piece in enumerate(pieces)]


def heard(samples: np.ndarray[Any, np.dtype[np.int16]]) -> bytes:
    """16-bit samples after their way through float: divided by 32768, multiplied by 32767, cut off."""
    return (samples.astype(np.float32) / 32768 * np.float32(32767)).astype("<i2").tobytes()


TEXT = " ".join(words(SPOKEN))


@pytest.fixture
def client(server: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none-needed", max_retries=0)


def test_json_holds_the_text_and_the_seconds(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="null", file=WAV)
    assert answer.text == TEXT
    assert answer.usage is not None
    assert answer.usage.model_dump() == {"type": "duration", "seconds": 3.2}


def test_text_is_the_bare_text(client: openai.OpenAI) -> None:
    assert client.audio.transcriptions.create(model="null", file=WAV, response_format="text") == TEXT + "\n"


def test_srt_holds_timed_cues(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="null", file=WAV, response_format="srt")
    assert answer.startswith("1\n00:00:00,000 --> 00:00:03,")
    assert answer.replace("\n", " ").split()[4] == words(SPOKEN)[0]


def test_vtt_holds_timed_cues(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="null", file=WAV, response_format="vtt")
    assert answer.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:03.")
    assert words(SPOKEN)[-1] in answer


def test_verbose_json_holds_segments_unless_words_alone_are_wanted(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="null", file=WAV, response_format="verbose_json")
    assert (answer.text, answer.duration) == (TEXT, 3.2)
    assert answer.words is None
    assert answer.segments is not None
    assert [(segment.id, segment.start, segment.end, segment.text) for segment in answer.segments] == [
        (0, 0, 3.2, TEXT)
    ]


def test_words_are_timed_when_asked_for(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="null", file=WAV, response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert answer.segments is None
    assert answer.words is not None
    assert [word.word for word in answer.words] == words(SPOKEN)
    assert [(word.start, word.end) for word in answer.words][-1] == (3.0, 3.2)


def test_words_and_segments_come_together(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="null",
        file=WAV,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        language="en",
    )
    assert answer.words is not None
    assert answer.segments is not None
    assert answer.language == "en"


def test_a_long_file_is_cut_and_nothing_is_lost(client: openai.OpenAI) -> None:
    samples = noise(70.0, seed=2)
    answer = client.audio.transcriptions.create(
        model="null", file=("long.wav", wav(samples)), response_format="verbose_json"
    )
    assert answer.duration == 70.0
    assert answer.segments is not None
    assert len(answer.segments) == 3
    cuts = [round(segment.start * RATE) for segment in answer.segments] + [len(samples)]
    for segment, start, end in zip(answer.segments, cuts, cuts[1:], strict=False):
        assert round(segment.end * RATE) == end
        assert segment.text.split() == words(samples[start:end])


def test_the_length_of_the_pieces_can_be_set(start: Start) -> None:
    server = start(piece_s=2)
    answer = post(server, response_format="verbose_json").json()
    assert len(answer["segments"]) == 2
    assert all(segment["end"] - segment["start"] <= 2 for segment in answer["segments"])


def test_a_single_language_model_names_its_language(start: Start) -> None:
    recognizer = GatedRecognizer()
    recognizer.gate.set()
    answer = post(start(recognizer), model="gated", response_format="verbose_json").json()
    assert (answer["text"], answer["language"]) == ("done", "en")


def test_pieces_without_speech_are_left_out_unless_told_otherwise(start: Start) -> None:
    silence = ("silence.wav", wav(np.zeros(3 * RATE, np.int16)))
    assert post(start(skip_silence=True), file=silence).json()["text"] == ""


def test_an_alias_is_another_name_of_the_model(start: Start) -> None:
    server = start(alias=["whisper-1"])
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none-needed", max_retries=0)
    assert client.audio.transcriptions.create(model="whisper-1", file=WAV).text == TEXT
    assert [model.id for model in client.models.list()] == ["null", "whisper-1"]
    assert client.models.retrieve("whisper-1").id == "whisper-1"


def test_speech_is_recognised(start: Start) -> None:
    corpus = open_corpus("demo")
    utterance = next(one for one in corpus.utterances if one.id.startswith("demo-short"))
    server = start(engine="pocketsphinx", threads=1, skip_silence=True)
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none-needed", max_retries=0)
    answer = client.audio.transcriptions.create(
        model=client.models.list().data[0].id, file=utterance.audio, response_format="verbose_json", language="en"
    )
    assert answer.text
    assert set(answer.text.lower().split()) & set(utterance.text.lower().split())
    assert answer.segments


def test_the_sdk_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.audio.transcriptions.create(model="gpt-4o-transcribe", file=WAV)
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o/transcribe")
    with pytest.raises(openai.BadRequestError, match="/v1/realtime"):
        client.audio.transcriptions.create(model="null", file=WAV, stream=True)


def test_translations_are_refused_by_name(server: Running) -> None:
    answer = httpx.post(f"{server.url}/v1/audio/translations", data={"model": "null"}, files={"file": WAV})
    assert answer.status_code == 422
    assert "does not translate" in answer.json()["error"]["message"]


REFUSED: list[tuple[dict[str, Any], int, str | None, str, str]] = [
    ({"model": None}, 400, "model", "missing_required_parameter", "no model was named"),
    ({"model": ""}, 400, "model", "missing_required_parameter", "no model was named"),
    ({"model": "nova"}, 404, "model", "model_not_found", "no such model: nova (hint: this server has null)"),
    ({"model": ["null", "null"]}, 400, "model", "invalid_value", "model was given 2 times"),
    ({"file": None}, 400, "file", "missing_required_parameter", "no file was uploaded"),
    ({"response_format": "docx"}, 400, "response_format", "invalid_value", "unknown response format: 'docx'"),
    ({"response_format": "diarized_json"}, 400, "response_format", "unsupported_value", "needs a diarizer"),
    ({"stream": "true"}, 400, "stream", "unsupported_parameter", "/v1/realtime"),
    ({"stream": "maybe"}, 400, "stream", "invalid_value", "'maybe'"),
    ({"temperature": "0.4"}, 400, "temperature", "unsupported_value", "'0.4'"),
    ({"temperature": "hot"}, 400, "temperature", "invalid_value", "'hot'"),
    ({"temperature": "nan"}, 400, "temperature", "unsupported_value", "'nan'"),
    ({"prompt": "Names: Ada"}, 422, "prompt", "unsupported", "null cannot honour prompt"),
    ({"keywords[]": ["Ada"]}, 422, "keywords[]", "unsupported", "null cannot honour keywords[]"),
    ({"languages[]": ["en"]}, 400, "languages[]", "unsupported_parameter", "name one with language"),
    ({"include[]": ["logprobs"]}, 400, "include[]", "unsupported_parameter", "log probabilities"),
    ({"known_speaker_names[]": ["a"]}, 400, "known_speaker_names[]", "unsupported_parameter", "speakers"),
    ({"known_speaker_references[]": ["a"]}, 400, "known_speaker_references[]", "unsupported_parameter", "speakers"),
    ({"chunking_strategy": '{"type":"server_vad"}'}, 400, "chunking_strategy", "unsupported_value", "auto"),
    ({"timestamp_granularities[]": ["word"]}, 400, "timestamp_granularities[]", "invalid_value", "verbose_json"),
    (
        {"timestamp_granularities[]": ["syllable"], "response_format": "verbose_json"},
        400,
        "timestamp_granularities[]",
        "invalid_value",
        "'syllable'",
    ),
    ({"timestamp_granularities": "word"}, 400, "timestamp_granularities", "unknown_parameter", "granularities[]"),
    ({"volume": "11"}, 400, "volume", "unknown_parameter", "'volume'"),
]


@pytest.mark.parametrize(("fields", "status", "param", "code", "says"), REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(
    server: Running, fields: dict[str, Any], status: int, param: str | None, code: str, says: str
) -> None:
    answer = post(server, **fields)
    error = answer.json()["error"]
    assert answer.status_code == status
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert says in error["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": "0"},
        {"temperature": "0.0"},
        {"stream": "false"},
        {"chunking_strategy": "auto"},
        {"prompt": ""},
        {"language": "de"},
    ],
)
def test_what_changes_nothing_is_let_through(server: Running, fields: dict[str, str]) -> None:
    assert post(server, **fields).json()["text"] == TEXT


def test_a_model_that_lacks_something_says_so(start: Start) -> None:
    server = start(GatedRecognizer())
    asked = post(server, model="gated", response_format="verbose_json", **{"timestamp_granularities[]": ["word"]})
    assert (asked.status_code, asked.json()["error"]["param"]) == (422, "timestamp_granularities[]")
    asked = post(server, model="gated", language="de")
    assert (asked.status_code, asked.json()["error"]["param"]) == (422, "language")
    assert "it knows en" in asked.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/listen", "/nowhere"])
def test_server_sent_events_are_refused_everywhere(server: Running, path: str) -> None:
    answer = httpx.post(server.url + path, headers={"Accept": "text/event-stream"}, data={"model": "null"})
    assert answer.status_code == 400
    assert "/v1/realtime" in answer.json()["error"]["message"]


def test_every_container_is_decoded(server: Running, data: Path) -> None:
    formats = sorted(path for path in (data / "formats").iterdir() if path.suffix in {".flac", ".mp3", ".m4a", ".ogg"})
    assert formats
    for path in formats[:8]:
        answer = post(server, file=(path.name, path.read_bytes()))
        assert answer.status_code == 200, (path, answer.text)
        assert answer.json()["text"]


def post(server: Running, **fields: Any) -> httpx.Response:
    """Send WAV to the null engine; a field that is None is left out."""
    sent: dict[str, Any] = {"model": "null", "file": WAV} | fields
    parts: list[tuple[str, Any]] = []
    for name, value in sent.items():
        if name == "file" and value is not None:
            parts.append((name, value))
        elif value is not None:
            parts += [(name, (None, one)) for one in (value if isinstance(value, list) else [value])]
    return httpx.post(f"{server.url}/v1/audio/transcriptions", files=parts)
