"""Key phrases over the wire: every dialect's own way to ask for them, heard by the stream that did."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from auricle.audio import Audio, save
from auricle.audio.resample import Resampler
from auricle.serve.settings import load_settings
from tests.serve.conftest import DEFAULTS, running
from tests.serve.deepgram_helpers import CLOSE, listen, refused, transcript
from tests.serve.live_helpers import WAIT_S, cut, finals, read_all, read_one
from tests.serve.openai_realtime_helpers import TRANSCRIPTION, connected, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serve.conftest import Running

MISSING = [package for package in ("torch", "sentencepiece", "yaml") if find_spec(package) is None]
pytestmark = [
    pytest.mark.usefixtures("no_traceback_on_the_server"),
    pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed; pip install 'auricle[torch]'"),
]
if not MISSING:
    from tests.fastconformer.homophones import phrase, spoken, texts, turned, write

    TEXT = texts()[0]
    PHRASE, TURNED = phrase(TEXT), turned(TEXT)
RATE = 16_000


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve the checkpoint in which one word is heard as another but for a key phrase."""
    model = write(tmp_path_factory.mktemp("model"))
    settings = {"engine": "fastconformer", "model": str(model), "threads": 1, "admission": False}
    with running(load_settings({**DEFAULTS, **settings})) as one:
        yield one


def pcm(rate: int = RATE) -> bytes:
    resampler = Resampler(RATE, rate)
    samples = np.concatenate([resampler.feed(spoken(TEXT)), resampler.finish()])
    return np.round(samples * 32767).clip(-32768, 32767).astype("<i2").tobytes()


def deepgram(server: Running, **query: Any) -> str:
    with listen(server, endpointing="false", **query) as client:
        for packet in cut(pcm(), 6400):
            client.send(packet)
        client.send(CLOSE)
        return transcript(read_all(client))


def test_deepgrams_keyterm_is_heard_by_the_stream_that_asked_beside_others_that_did_not(planted: Running) -> None:
    queries = [{}, {"keyterm": [PHRASE, "one two three"]}, {}, {"keywords": PHRASE}]
    with ThreadPoolExecutor(len(queries)) as pool:
        texts = list(pool.map(lambda query: deepgram(planted, **query), queries))
    assert texts == [TEXT, TURNED, TEXT, TURNED]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"keyterm": "Zürich"}, "Z\\\\xfcrich"),
        ({"keyterm": " "}, "malformed"),
        ({"keyterm": ["one"] * 300}, "300"),
        ({"keywords": "one:2.5"}, "one:2.5"),
    ],
)
def test_deepgrams_phrases_that_cannot_be_honoured_are_refused_by_name(
    planted: Running, query: dict[str, Any], named: str
) -> None:
    answer = refused(planted, **query).response
    assert answer.status_code == 400
    assert named.replace("\\\\", "\\") in answer.headers["dg-error"]


def test_openais_keywords_are_heard(planted: Running) -> None:
    for keywords, text in (([], TEXT), ([PHRASE], TURNED)):
        with started(planted, transcription={"keywords": keywords}, turn_detection=None) as client:
            for packet in cut(pcm(24_000), 48_000):
                client.append(packet)
            client.send("input_audio_buffer.commit")
            assert client.read_until(f"{TRANSCRIPTION}.completed")[-1]["transcript"] == text


def test_openais_keywords_that_cannot_be_honoured_are_named(planted: Running, server: Running) -> None:
    with connected(planted) as client:
        client.update(transcription={"keywords": ["Ωmega"]})
        error = client.read_until("session.updated")[-1]["error"]
        assert error["code"] == "unsupported_value"
        assert "Ωmega" in error["message"]
    with connected(server) as client:
        client.update(transcription={"keywords": ["name"]})
        assert "keywords" in client.read_until("session.updated")[-1]["error"]["param"]


def test_a_file_has_them_too(planted: Running, tmp_path: Path) -> None:
    path = tmp_path / "spoken.wav"
    save(Audio(spoken(TEXT), RATE), path)
    answers = []
    for keywords in ([], [PHRASE], ["Zürich"]):
        with path.open("rb") as file:
            answers.append(
                httpx.post(
                    f"{planted.url}/v1/audio/transcriptions",
                    files={"file": file},
                    data={"model": planted.service.recognizer.info.name, "keywords[]": keywords},
                    timeout=WAIT_S,
                )
            )
    assert [answer.json().get("text") for answer in answers] == [TEXT, TURNED, None]
    assert answers[2].status_code == 422
    assert "Zürich" in answers[2].json()["error"]["message"]


def test_sherpas_dialect_takes_our_keyterm(planted: Running) -> None:
    for query, text in (({}, TEXT), ({"keyterm": PHRASE}, TURNED)):
        with connect(f"{planted.ws_url}/?{urlencode(query)}", open_timeout=WAIT_S) as client:
            client.send(spoken(TEXT).astype("<f4").tobytes())
            client.send("Done")
            messages = [read_one(client)]
            while messages[-1] != "Done!":
                messages.append(read_one(client))
        assert " ".join(one["text"] for one in finals(messages[:-1])).split() == text.split()
