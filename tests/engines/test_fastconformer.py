"""The FastConformer engine keeps the contract and bounds its memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

import auricle.audio
from auricle.audio import Audio
from auricle.engines import fastconformer
from auricle.engines.contract import LoadOptions, Recognizer, TranscribeOptions
from auricle.errors import CancelledError, UnsupportedError
from auricle.trace import Tracer
from tests.engines.contract_suite import PLAIN, EngineContract, LiveContract, texts
from tests.fastconformer.checkpoints import RATE_HZ, build, recording

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auricle.engines.contract import Engine
    from auricle.engines.fastconformer_recognizer import FastConformerRecognizer

MISSING = [package for package in ("torch", "sentencepiece", "yaml") if find_spec(package) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed; pip install 'auricle[torch]'")

FITTED = "and so my fellow mericans ask not what yo"
WORD_TIMES = TranscribeOptions(word_times=True)


class FastConformerContract(EngineContract):
    """The suite on random weights, made from a seed."""

    model = ""
    keyword = "da"
    beam: int | None = None

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return fastconformer.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, tmp_path_factory: pytest.TempPathFactory) -> LoadOptions:
        return LoadOptions(model=build(cls.model, tmp_path_factory.mktemp("model")), threads=1, beam=cls.beam)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return [Audio(recording(samples, samples), RATE_HZ) for samples in (40_000, 56_000, 23_000)]


class TestHybridTdt(FastConformerContract):
    model = "hybrid_tdt"


class TestCtc(FastConformerContract):
    model = "ctc"
    hears_silence = True


class TestStreamingTransducer(FastConformerContract, LiveContract):
    model = "rnnt_stream"
    hears_silence = True


class TestStreamingBeam(FastConformerContract, LiveContract):
    model = "rnnt_stream"
    beam = 3
    hears_silence = True


class TrainedContract(FastConformerContract):
    """The suite on a small trained checkpoint of the evaluation data, on human speech."""

    hears_silence = True
    keyword = "fellow"

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, data: Path) -> LoadOptions:
        return LoadOptions(model=data / "nemo" / cls.model, threads=1)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls, data: Path) -> Sequence[Audio]:
        audio = auricle.audio.load(data / "real" / "audio" / "jfk.flac")
        return [Audio(audio.samples[:samples], audio.rate) for samples in (60_000, 100_000, 40_000)]


class TestTrainedHybrid(TrainedContract):
    model = "hybrid_tdt_ctc.nemo"


class TestFitted(TrainedContract, LiveContract):
    model = "stream_rnnt_overfit_jfk.nemo"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("rnnt", tmp_path_factory.mktemp("archive"))


@pytest.fixture
def loaded(archive: Path) -> Iterator[FastConformerRecognizer]:
    recognizer = fastconformer.ENGINE.load(LoadOptions(archive, threads=1), Tracer())
    yield recognizer
    recognizer.unload()


@pytest.fixture(scope="module")
def fitted(data: Path) -> Iterator[Recognizer]:
    options = LoadOptions(data / "nemo" / "stream_rnnt_overfit_jfk.nemo", threads=1)
    recognizer = fastconformer.ENGINE.load(options, Tracer())
    yield recognizer
    recognizer.unload()


@pytest.fixture(scope="module")
def jfk(data: Path) -> Audio:
    return auricle.audio.load(data / "real" / "audio" / "jfk.flac")


def test_a_fitted_checkpoint_says_the_same_in_any_company(fitted: Recognizer, jfk: Audio) -> None:
    others = [Audio(recording(samples, samples), RATE_HZ) for samples in (300, 9_000, 160_000, 240_000)]
    for batch in ([jfk], [jfk] * 9, [*others, jfk], [jfk, *others[::-1], jfk]):
        heard = texts(fitted, batch)
        assert [text for text, audio in zip(heard, batch, strict=True) if audio is jfk] == [FITTED] * batch.count(jfk)


def test_two_threads_with_different_batches_hear_what_each_would_alone(fitted: Recognizer, jfk: Audio) -> None:
    other = [Audio(recording(samples, samples), RATE_HZ) for samples in (50_000, 90_000)]
    batches = [[jfk] * 3, other] * 2
    alone = [fitted.transcribe(batch, WORD_TIMES) for batch in batches]
    with ThreadPoolExecutor(len(batches)) as threads:
        assert list(threads.map(lambda batch: fitted.transcribe(batch, WORD_TIMES), batches)) == alone


def test_words_are_given_where_they_are_asked_for_and_are_sure_by_a_share(fitted: Recognizer, jfk: Audio) -> None:
    (plain,), (timed,) = fitted.transcribe([jfk], PLAIN), fitted.transcribe([jfk], WORD_TIMES)
    assert plain.words == ()
    assert [(segment.start, segment.end) for segment in plain.segments] == [
        (segment.start, segment.end) for segment in timed.segments
    ]
    assert [word.text for word in timed.words] == FITTED.split()
    assert all(word.confidence is not None and 0 < word.confidence <= 1 for word in timed.words)


def test_the_stages_of_every_batch_are_traced(archive: Path) -> None:
    tracer = Tracer()
    recognizer = fastconformer.ENGINE.load(LoadOptions(archive, threads=1), tracer)
    try:
        recognizer.transcribe([Audio(recording(20_000), RATE_HZ)], PLAIN)
        assert [span.stage for span in tracer.drain()] == ["features", "encoder", "decode", "detokenise"]
        recognizer.transcribe([Audio(recording(20_000), RATE_HZ)] * 400, PLAIN)
        stages = [span.stage for span in tracer.drain()]
    finally:
        recognizer.unload()
    assert stages == ["features", "encoder", "decode", "detokenise"] * (len(stages) // 4)
    assert len(stages) > 4


def test_a_call_that_waits_for_its_turn_heeds_its_cancellation(loaded: FastConformerRecognizer) -> None:
    cancel = threading.Event()
    with loaded._turn, ThreadPoolExecutor(1) as threads:
        call = threads.submit(loaded.transcribe, [Audio(recording(20_000), RATE_HZ)], PLAIN, cancel)
        assert call.exception(timeout=0.2) is None if call.done() else True
        cancel.set()
        assert isinstance(call.exception(timeout=10), CancelledError)


def test_a_recording_longer_than_is_taken_at_once_is_refused(loaded: FastConformerRecognizer) -> None:
    assert loaded.info.max_audio_s is not None
    samples = int(loaded.info.max_audio_s * RATE_HZ) + 1
    with pytest.raises(UnsupportedError, match="takes at most"):
        loaded.transcribe([Audio(recording(1)[:1].repeat(samples), RATE_HZ)], PLAIN)
