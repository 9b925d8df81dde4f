"""Every kind of sherpa-onnx model keeps the engine contract, and says what its audio says."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.audio import Audio
from auricle.engines import sherpa
from auricle.engines.contract import LoadOptions, TranscribeOptions
from auricle.errors import UnsupportedError
from auricle.trace import Tracer
from tests.engines import sherpa_graphs as graphs
from tests.engines.contract_suite import PLAIN, EngineContract, LiveContract, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from auricle.engines.contract import Engine

pytestmark = pytest.mark.skipif(find_spec("sherpa_onnx") is None, reason='needs pip install "auricle[sherpa]"')

SENTENCES = ("one two three", "three one", "two one two one three")
WORD_TIMES = TranscribeOptions(word_times=True)


class SherpaContract(EngineContract):
    """The suite on a toy model made by `build`."""

    @classmethod
    def build(cls, folder: Path) -> Path:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return sherpa.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, tmp_path_factory: pytest.TempPathFactory) -> LoadOptions:
        return LoadOptions(model=cls.build(tmp_path_factory.mktemp("model")), threads=1)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return [graphs.say(sentence) for sentence in SENTENCES]


class TestOfflineCtc(SherpaContract):
    @classmethod
    def build(cls, folder: Path) -> Path:
        return graphs.nemo_ctc(folder, "model.int8.onnx", "int8")


class TestWhisper(SherpaContract):
    @classmethod
    def build(cls, folder: Path) -> Path:
        return graphs.whisper(folder)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return [whisper_speech(*pieces) for pieces in ((0, 1, 2, 3), (1, 0), (2, 3, 1, 0, 1))]


class TestLiveTransducer(SherpaContract, LiveContract):
    @classmethod
    def build(cls, folder: Path) -> Path:
        return graphs.nemo_live_transducer(folder)


def whisper_speech(*pieces: int) -> Audio:
    return Audio(graphs.tone(*pieces, seconds=0.5), graphs.RATE)


def tdt(folder: Path) -> Path:
    return graphs.nemo_transducer(folder, graphs.NEMO_TRANSDUCER | {"url": "toy-tdt"}, durations="0,0,1")


@pytest.mark.parametrize(
    ("build", "family"),
    [
        (graphs.nemo_transducer, "nemo-transducer"),
        (tdt, "nemo-transducer (TDT)"),
        (graphs.zipformer_transducer, "zipformer-transducer"),
        (graphs.nemo_ctc, "nemo-ctc"),
        (graphs.zipformer_ctc, "zipformer-ctc"),
        (graphs.sense_voice, "sense-voice"),
        (graphs.nemo_live_transducer, "nemo-streaming-transducer"),
        (graphs.nemo_live_ctc, "nemo-streaming-ctc"),
        (graphs.zipformer_live_transducer, "zipformer2-streaming-transducer"),
        (graphs.zipformer_live_ctc, "zipformer2-streaming-ctc"),
    ],
)
def test_every_kind_is_recognised_and_hears_the_words_where_they_are(
    build: Callable[[Path], Path], family: str, tmp_path: Path
) -> None:
    recognizer = sherpa.ENGINE.load(LoadOptions(model=build(tmp_path)), Tracer())
    try:
        (transcript,) = recognizer.transcribe([graphs.say("two three one")], WORD_TIMES)
        together = texts(recognizer, [graphs.say(sentence) for sentence in SENTENCES])
    finally:
        recognizer.unload()
    assert recognizer.info.family == family
    assert transcript.text == "two three one"
    assert together == list(SENTENCES)
    starts = [word.start for word in transcript.words]
    assert starts == pytest.approx([0.2, 0.68, 1.4], abs=0.17)
    assert transcript.words[1].end >= 0.68 + graphs.TONE_S
    confidences = [word.confidence for word in transcript.words]
    if "confidence" in recognizer.info.features:
        assert all(confidence is not None and 0 < confidence <= 1 for confidence in confidences)
    else:
        assert confidences == [None, None, None]


def test_durations_of_a_tdt_model_end_its_words(tmp_path: Path) -> None:
    recognizer = sherpa.ENGINE.load(LoadOptions(model=tdt(tmp_path)), Tracer())
    try:
        (transcript,) = recognizer.transcribe([graphs.say("one")], WORD_TIMES)
    finally:
        recognizer.unload()
    (word,) = transcript.words
    assert word.end - word.start == pytest.approx(2 * 0.08)


@pytest.mark.parametrize("build", [graphs.whisper, graphs.sense_voice])
def test_a_language_that_is_asked_for_reaches_the_model(build: Callable[[Path], Path], tmp_path: Path) -> None:
    recognizer = sherpa.ENGINE.load(LoadOptions(model=build(tmp_path)), Tracer())
    audio = whisper_speech(0, 1)
    try:
        asked = [*recognizer.info.languages[:2], *recognizer.info.languages[:2]]
        spoken = [recognizer.transcribe([audio], TranscribeOptions(language=language))[0] for language in asked]
        with pytest.raises(UnsupportedError, match=r"language: tlh .*it knows"):
            recognizer.transcribe([audio], TranscribeOptions(language="tlh"))
        assert recognizer.transcribe([audio], PLAIN)[0].language == "en"
    finally:
        recognizer.unload()
    assert [transcript.language for transcript in spoken] == asked
    if build is graphs.whisper:
        assert [transcript.text for transcript in spoken] == ["one two", "two one"] * 2


def test_a_language_is_refused_by_a_model_that_knows_none(tmp_path: Path) -> None:
    recognizer = sherpa.ENGINE.load(LoadOptions(model=graphs.nemo_ctc(tmp_path)), Tracer())
    try:
        with pytest.raises(UnsupportedError, match="does not know this language: en"):
            recognizer.transcribe([graphs.say("one")], TranscribeOptions(language="en"))
    finally:
        recognizer.unload()


def test_whisper_gives_word_times_where_its_export_has_attention(tmp_path: Path) -> None:
    folder = graphs.whisper(tmp_path, multilingual=False, attention=True)
    recognizer = sherpa.ENGINE.load(LoadOptions(model=folder), Tracer())
    try:
        (transcript,) = recognizer.transcribe([whisper_speech(1, 2, 3)], WORD_TIMES)
    finally:
        recognizer.unload()
    assert [word.text for word in transcript.words] == ["two", "three"]
    assert transcript.language == "en"


def test_whisper_refuses_what_the_library_would_cut_off(tmp_path: Path) -> None:
    recognizer = sherpa.ENGINE.load(LoadOptions(model=graphs.whisper(tmp_path)), Tracer())
    samples = np.zeros(int(29.49 * graphs.RATE), np.float32)
    samples[:8000] = graphs.tone(0, seconds=0.5)
    try:
        assert texts(recognizer, [Audio(samples, graphs.RATE)]) == ["one"]
        with pytest.raises(UnsupportedError, match=r"at most 29\.49 s"):
            recognizer.transcribe([Audio(np.zeros(int(29.5 * graphs.RATE), np.float32), graphs.RATE)], PLAIN)
    finally:
        recognizer.unload()


def test_the_stages_name_the_call_that_is_not_split(tmp_path: Path) -> None:
    tracer = Tracer()
    recognizer = sherpa.ENGINE.load(LoadOptions(model=graphs.nemo_ctc(tmp_path)), tracer)
    tracer.drain()
    recognizer.transcribe([graphs.say("one")], PLAIN)
    recognizer.unload()
    assert [span.stage for span in tracer.drain()] == ["features", "recognise", "detokenise"]
    assert any("recognise" in note for note in recognizer.info.notes)


def test_the_library_is_never_imported_by_the_caller(tmp_path: Path) -> None:
    recognizer = sherpa.ENGINE.load(LoadOptions(model=graphs.nemo_ctc(tmp_path)), Tracer())
    assert texts(recognizer, [graphs.say("two")]) == ["two"]
    recognizer.unload()
    assert "sherpa_onnx" not in sys.modules


def test_importing_the_engine_imports_nothing_heavy() -> None:
    heavy = "{'sherpa_onnx', 'onnx', 'av', 'torch', 'onnxruntime'}"
    code = f"import auricle.engines.sherpa, sys; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_dynamic_quantisation_does_not_let_recordings_change_each_other(tmp_path: Path) -> None:
    folder = graphs.nemo_ctc(tmp_path, "model.int8.onnx", "int8")
    recognizer = sherpa.ENGINE.load(LoadOptions(model=folder), Tracer())
    faint = [Audio(graphs.tone(0, level=level), graphs.RATE) for level in np.geomspace(0.02, 0.3, 400)]
    loud = Audio(graphs.tone(3, level=30.0), graphs.RATE)
    try:
        alone = [texts(recognizer, [audio])[0] for audio in faint]
        together = texts(recognizer, [loud, *faint])[1:]
    finally:
        recognizer.unload()
    assert 0 < alone.count("one") < len(alone)
    assert together == alone
    assert any("one at a time" in note for note in recognizer.info.notes)
