"""PocketSphinx keeps the contract, whatever it heard before and whatever happens to its processes."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from auricle.audio import Audio, PcmFormat, load
from auricle.corpus import open_corpus
from auricle.engines import pocketsphinx
from auricle.engines.contract import Feed, LoadOptions, StreamFailure, StreamOptions, TranscribeOptions
from auricle.errors import EngineCrashedError, ModelError
from auricle.trace import Tracer
from auricle.transcript import Hypothesis
from tests.engines.contract_suite import PLAIN, EngineContract, LiveContract, texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auricle.engines.contract import Engine
    from auricle.engines.pocketsphinx import PocketsphinxRecognizer

CHUNK = pocketsphinx.CHUNK_MS * 16


def demo_speech() -> list[Audio]:
    """The three shortest utterances of the demo corpus."""
    shortest = sorted(open_corpus("demo").utterances, key=lambda utterance: utterance.duration_s)[:3]
    return [load(utterance.audio) for utterance in shortest]


class TestPocketsphinx(EngineContract, LiveContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return pocketsphinx.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return demo_speech()


@pytest.fixture
def recognizer() -> Iterator[PocketsphinxRecognizer]:
    recognizer = pocketsphinx.ENGINE.load(LoadOptions(threads=1), Tracer())
    yield recognizer
    recognizer.unload()


def worker_processes() -> list[psutil.Process]:
    return [process for process in psutil.Process().children() if "auricle.engines.worker" in process.cmdline()]


def test_what_was_heard_before_does_not_change_a_text(recognizer: PocketsphinxRecognizer) -> None:
    speech = demo_speech()
    forwards = [texts(recognizer, [audio]) for audio in speech]
    backwards = [texts(recognizer, [audio]) for audio in speech[::-1]]
    assert forwards == backwards[::-1]


def test_words_have_confidence(recognizer: PocketsphinxRecognizer) -> None:
    (transcript,) = recognizer.transcribe(demo_speech()[:1], TranscribeOptions(word_times=True))
    assert all(word.confidence is not None and 0 <= word.confidence <= 1 for word in transcript.words)


def test_partials_come_while_the_speech_goes_on(recognizer: PocketsphinxRecognizer) -> None:
    audio = demo_speech()[-1]
    stream = recognizer.open(StreamOptions())
    partials = []
    for start in range(0, len(audio.samples) - CHUNK, CHUNK):
        (partial,) = recognizer.step([Feed(stream, audio.samples[start : start + CHUNK])])
        assert isinstance(partial, Hypothesis)
        partials.append(partial.text)
    assert len(set(filter(None, partials))) > 1


def test_a_killed_worker_fails_its_call_and_the_next_call_works(recognizer: PocketsphinxRecognizer) -> None:
    speech = demo_speech()
    before = texts(recognizer, speech[:1])
    for process in worker_processes():
        process.suspend()
    (worker,) = worker_processes()
    tail = np.tile(speech[0].samples, 5)
    from threading import Timer

    Timer(0.3, worker.kill).start()
    with pytest.raises(EngineCrashedError, match="process ended"):
        recognizer.transcribe([Audio(tail, 16_000)], PLAIN)
    assert texts(recognizer, speech[:1]) == before


def test_a_killed_live_worker_fails_its_streams_and_new_ones_open(recognizer: PocketsphinxRecognizer) -> None:
    before = worker_processes()
    streams = [recognizer.open(StreamOptions()) for _ in range(2)]
    for process in worker_processes():
        if process not in before:
            process.kill()
            process.wait()
    failures = recognizer.step([Feed(stream, np.zeros(CHUNK, np.float32)) for stream in streams])
    assert [type(failure) for failure in failures] == [StreamFailure, StreamFailure]
    stream = recognizer.open(StreamOptions())
    (partial,) = recognizer.step([Feed(stream, np.zeros(CHUNK, np.float32))])
    assert isinstance(partial, Hypothesis)


@pytest.fixture
def digits(data: Path, tmp_path: Path) -> Path:
    """A folder with a small acoustic model and a grammar of digit strings."""
    source = data / "models" / "pocketsphinx-tidigits" / "test" / "data" / "tidigits"
    folder = tmp_path / "digits"
    shutil.copytree(source / "hmm", folder / "hmm")
    shutil.copy(source / "lm" / "tidigits.dic", folder)
    words = (source / "lm" / "tidigits.dic").read_text().split("\n")
    names = " | ".join(line.split()[0] for line in words if line.strip() and "(" not in line)
    (folder / "digits.gram").write_text(f"#JSGF V1.0;\ngrammar digits;\npublic <digits> = ({names})+;\n")
    return folder


def test_another_model_is_loaded_from_a_folder(digits: Path, data: Path) -> None:
    recognizer = pocketsphinx.ENGINE.load(LoadOptions(model=digits, threads=1), Tracer())
    raw = data / "models" / "pocketsphinx-tidigits" / "test" / "data" / "tidigits" / "dhd.2934z.raw"
    audio = load(raw, recognizer.info.sample_rate, pcm=PcmFormat("s16le", recognizer.info.sample_rate))
    try:
        assert texts(recognizer, [audio]) == ["two nine three four zero"]
        assert recognizer.info.name == "digits"
    finally:
        recognizer.unload()


@pytest.mark.parametrize(
    ("part", "message"),
    [("hmm", "no acoustic model"), ("tidigits.dic", "no dictionary"), ("digits.gram", "no language model or grammar")],
)
def test_a_model_without_a_part_is_refused_by_its_name(digits: Path, part: str, message: str) -> None:
    path = digits / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ModelError, match=message):
        pocketsphinx.ENGINE.load(LoadOptions(model=digits), Tracer())


def test_a_model_with_two_grammars_is_refused(digits: Path) -> None:
    shutil.copy(digits / "digits.gram", digits / "more.gram")
    with pytest.raises(ModelError, match=r"several .*digits\.gram, more\.gram"):
        pocketsphinx.ENGINE.load(LoadOptions(model=digits), Tracer())


@pytest.mark.parametrize("name", ["mdef", "means"])
def test_a_damaged_model_is_refused_and_leaves_no_process(digits: Path, name: str) -> None:
    (digits / "hmm" / name).write_bytes(b"damaged")
    before = worker_processes()
    with pytest.raises((ModelError, EngineCrashedError)):
        pocketsphinx.ENGINE.load(LoadOptions(model=digits), Tracer())
    assert worker_processes() == before
