"""Beams and key phrases as the engine serves them, and engines without that choice refusing it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from auricle.audio import Audio
from auricle.engines.contract import Feed, LoadOptions, StreamOptions, TranscribeOptions
from auricle.engines.fastconformer_live import FastConformerStreamingRecognizer
from auricle.engines.loading import LoadRequest, load
from auricle.engines.registry import get_engine
from auricle.errors import UnsupportedError
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from auricle.transcript import Hypothesis

MISSING = [package for package in ("torch", "sentencepiece", "yaml") if find_spec(package) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed; pip install 'auricle[torch]'")
if not MISSING:
    from tests.fastconformer.homophones import phrase, spoken, texts, turned, write
RATE = 16_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=[None, 1, 4])
def recognizer(model: Path, request: pytest.FixtureRequest) -> Iterator[FastConformerStreamingRecognizer]:
    options = LoadOptions(model, threads=1, beam=request.param)
    loaded = get_engine("fastconformer").load(options, Tracer())
    assert isinstance(loaded, FastConformerStreamingRecognizer)
    yield loaded
    loaded.unload()


def live(recognizer: FastConformerStreamingRecognizer, text: str, options: StreamOptions) -> list[Hypothesis]:
    number, samples = recognizer.open(options), spoken(text)
    found: list[Hypothesis] = []
    streaming = recognizer.info.streaming
    assert streaming is not None
    size, place = streaming.chunk(options.chunk_ms) * RATE // 1000, 0
    while place < len(samples):
        wanted = size - (0 if place else streaming.first_short)
        piece = samples[place : place + wanted]
        place += wanted
        (one,) = recognizer.step([Feed(number, piece, is_last=place >= len(samples))])
        found.append(one)
    recognizer.close(number)
    return found


def test_files_and_streams_hear_the_planted_word_where_it_was_asked_for(
    recognizer: FastConformerStreamingRecognizer,
) -> None:
    text = texts()[0]
    for keywords, wanted in (((), text), ((phrase(text),), turned(text))):
        options = TranscribeOptions(keywords=keywords, word_times=True)
        (transcript,) = recognizer.transcribe([Audio(spoken(text), RATE)], options)
        assert transcript.text == wanted
        heard = live(recognizer, text, StreamOptions(keywords=keywords, word_times=True))
        assert heard[-1].text == wanted
        assert [word.text for word in heard[-1].words] == wanted.split()


def test_the_stable_words_of_a_stream_never_change(recognizer: FastConformerStreamingRecognizer) -> None:
    for text in texts()[:3]:
        stable: list[str] = []
        heard = live(recognizer, text, StreamOptions(chunk_ms=80, keywords=("one two",)))
        for one in heard:
            assert one.text.split()[: len(stable)] == stable
            stable = one.text.split()[: one.stable_words]
        assert stable == text.split()


def test_a_slot_takes_as_many_bytes_as_it_says(recognizer: FastConformerStreamingRecognizer) -> None:
    from auricle.fastconformer.streaming.streams import LiveStreams

    streams, streaming = recognizer._streams, recognizer.info.streaming
    assert isinstance(streams, LiveStreams)
    assert streaming is not None
    assert streaming.bytes_per_slot is not None
    number = recognizer.open(StreamOptions())
    assert streams.bytes_per_slot(recognizer._classes[streaming.chunk_ms[0]]) == streaming.bytes_per_slot[0]
    recognizer.close(number)


@pytest.mark.parametrize("beam", [0, 33])
def test_a_beam_that_there_is_not_is_refused(model: Path, beam: int) -> None:
    with pytest.raises(UnsupportedError, match=str(beam)):
        get_engine("fastconformer").load(LoadOptions(model, threads=1, beam=beam), Tracer())


@pytest.mark.parametrize("engine", ["null", "pocketsphinx", "sherpa-onnx"])
def test_engines_without_the_choice_refuse_any_beam(engine: str) -> None:
    with pytest.raises(UnsupportedError, match="beam"):
        load(LoadRequest(engine, beam=4), Tracer())


def test_what_was_asked_for_shows_in_the_notes_and_in_labels(model: Path) -> None:
    loaded = get_engine("fastconformer").load(LoadOptions(model, threads=1, beam=4), Tracer())
    assert "a beam of 4" in loaded.info.notes
    loaded.unload()
    assert LoadRequest("fastconformer", beam=4).label == "fastconformer beam 4"
