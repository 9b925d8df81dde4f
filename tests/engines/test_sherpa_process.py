"""Whatever happens to the child process, its caller lives, hears of it, and can go on."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from auricle.audio import Audio
from auricle.engines.contract import Feed, LoadOptions, StreamFailure, StreamOptions, TranscribeOptions
from auricle.engines.sherpa import ENGINE
from auricle.engines.sherpa.model import open_model
from auricle.engines.sherpa.plan import plan_for
from auricle.engines.sherpa.recognizer import SERVICE
from auricle.engines.sherpa.streaming import SherpaStreamingRecognizer
from auricle.engines.worker import Worker
from auricle.errors import EngineCrashedError, EngineError, UnsupportedError, UsageError
from auricle.trace import Tracer
from auricle.transcript import Hypothesis
from tests.engines import sherpa_graphs as graphs
from tests.engines.contract_suite import PLAIN, texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(find_spec("sherpa_onnx") is None, reason='needs pip install "auricle[sherpa]"')

CHUNK = 16 * 160
DEADLY = Audio(graphs.tone(0, seconds=1.0, level=8.0), graphs.RATE, "deadly")


def load_live(folder: Path) -> SherpaStreamingRecognizer:
    recognizer = ENGINE.load(LoadOptions(model=folder, threads=1), Tracer())
    assert isinstance(recognizer, SherpaStreamingRecognizer)
    return recognizer


@pytest.fixture
def deadly(tmp_path: Path) -> Iterator[SherpaStreamingRecognizer]:
    """A recogniser of a valid model on which the library ends its process when it hears loud audio."""
    recognizer = load_live(graphs.nemo_live_transducer(tmp_path, deadly=True))
    yield recognizer
    recognizer.unload()


def say(recognizer: SherpaStreamingRecognizer, stream: int, audio: Audio) -> Hypothesis | StreamFailure:
    """Feed one utterance and return the last result."""
    for start in range(0, len(audio.samples), CHUNK):
        is_last = start + CHUNK >= len(audio.samples)
        (result,) = recognizer.step([Feed(stream, audio.samples[start : start + CHUNK], is_last)])
        if is_last or isinstance(result, StreamFailure):
            return result
    raise AssertionError


def test_a_recording_that_ends_the_process_fails_alone(deadly: SherpaStreamingRecognizer) -> None:
    with pytest.raises(EngineCrashedError, match="Size mismatch"):
        deadly.transcribe([graphs.say("one"), DEADLY], PLAIN)
    assert texts(deadly, [graphs.say("one two")]) == ["one two"]


def test_a_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    recognizer = ENGINE.load(LoadOptions(model=graphs.nemo_ctc(tmp_path)), Tracer())
    try:
        (worker,) = (p for p in psutil.Process().children() if "auricle.engines.worker" in p.cmdline())
        worker.kill()
        worker.wait()
        assert texts(recognizer, [graphs.say("two")]) == ["two"]
    finally:
        recognizer.unload()


def test_a_crash_fails_every_stream_that_the_process_held_and_no_later_one(deadly: SherpaStreamingRecognizer) -> None:
    killer, bystander = deadly.open(StreamOptions()), deadly.open(StreamOptions())
    failure = say(deadly, killer, DEADLY)
    assert isinstance(failure, StreamFailure)
    assert isinstance(failure.error, EngineCrashedError)
    later = deadly.open(StreamOptions())
    lost, heard = deadly.step([Feed(stream, graphs.say("one").samples[:CHUNK]) for stream in (bystander, later)])
    assert isinstance(lost, StreamFailure)
    assert "the process that held this stream ended" in str(lost.error)
    assert isinstance(heard, Hypothesis)
    final = say(deadly, later, graphs.say("one two"))
    assert isinstance(final, Hypothesis)
    assert final.text == "one two"
    for stream in (killer, bystander):
        with pytest.raises(EngineError, match="unknown stream"):
            deadly.close(stream)


def test_the_library_ending_its_process_while_it_loads_reaches_the_caller_as_an_error(tmp_path: Path) -> None:
    plan = plan_for(open_model(graphs.nemo_ctc(tmp_path), "cpu", None), "cpu", 1)
    graphs.nemo_ctc(tmp_path, props={"model_type": "EncDecCTCModelBPE"})
    with pytest.raises(EngineCrashedError, match="'vocab_size' does not exist in the metadata"):
        Worker(SERVICE, (plan,), Tracer())


def test_a_fallback_to_the_cpu_is_noticed_and_refused(tmp_path: Path) -> None:
    plan = plan_for(open_model(graphs.nemo_ctc(tmp_path), "cuda", None), "cuda", 1)
    with pytest.raises(UnsupportedError, match=r"did not run the model on cuda.*Fallback to cpu"):
        Worker(SERVICE, (plan,), Tracer())


def test_a_failure_that_the_library_swallows_is_an_error_and_not_an_empty_text(tmp_path: Path) -> None:
    folder = graphs.whisper(tmp_path, frames="77")
    recognizer = ENGINE.load(LoadOptions(model=folder), Tracer())
    try:
        with pytest.raises(EngineError, match=r"gave an empty result.*invalid dimensions"):
            recognizer.transcribe([Audio(graphs.tone(0, seconds=1.0), graphs.RATE)], PLAIN)
    finally:
        recognizer.unload()


def test_partials_grow_and_only_their_last_word_may_change(tmp_path: Path) -> None:
    recognizer = load_live(graphs.nemo_live_transducer(tmp_path))
    stream = recognizer.open(StreamOptions(word_times=True))
    audio = graphs.say("one three two")
    results = []
    for start in range(0, len(audio.samples), CHUNK):
        is_last = start + CHUNK >= len(audio.samples)
        (result,) = recognizer.step([Feed(stream, audio.samples[start : start + CHUNK], is_last)])
        assert isinstance(result, Hypothesis)
        results.append(result)
    recognizer.unload()
    final = results[-1]
    assert final.is_final
    assert final.text == "one three two"
    assert final.stable_words == 3
    assert final.audio_s == pytest.approx(audio.duration_s)
    assert [word.start for word in final.words] == pytest.approx([0.2, 0.68, 1.4], abs=0.17)
    for partial in results[:-1]:
        assert not partial.is_final
        assert final.text.split()[: partial.stable_words] == partial.text.split()[: partial.stable_words]
    assert len({partial.text for partial in results}) > 3


def test_a_word_at_the_very_end_is_not_cut(tmp_path: Path) -> None:
    recognizer = load_live(graphs.nemo_live_transducer(tmp_path))
    stream = recognizer.open(StreamOptions())
    cut = Audio(np.concatenate([graphs.say("one").samples, graphs.tone(1, seconds=0.17)]), graphs.RATE)
    finals = [say(recognizer, stream, cut) for _ in range(2)]
    recognizer.unload()
    assert [final.text for final in finals if isinstance(final, Hypothesis)] == ["one two", "one two"]


def test_a_word_at_the_very_start_is_not_cut(tmp_path: Path) -> None:
    recognizer = load_live(graphs.nemo_live_transducer(tmp_path))
    audio = Audio(np.concatenate([graphs.tone(1, seconds=0.1), np.zeros(3200, np.float32)]), graphs.RATE)
    (transcript,) = recognizer.transcribe([audio], TranscribeOptions(word_times=True))
    recognizer.unload()
    assert transcript.text == "two"
    assert transcript.words[0].start <= 0.16


def test_recordings_are_recognised_while_a_stream_is_open(tmp_path: Path) -> None:
    recognizer = load_live(graphs.zipformer_live_transducer(tmp_path))
    chunk = recognizer.info.streaming.chunk_ms[0] * 16 if recognizer.info.streaming else 0
    stream = recognizer.open(StreamOptions())
    audio = graphs.say("two three")
    text = ""
    for start in range(0, len(audio.samples), chunk):
        is_last = start + chunk >= len(audio.samples)
        (result,) = recognizer.step([Feed(stream, audio.samples[start : start + chunk], is_last)])
        assert isinstance(result, Hypothesis)
        text = result.text
        if start == chunk:
            assert texts(recognizer, [graphs.say("one"), graphs.say("two one")]) == ["one", "two one"]
    recognizer.unload()
    assert text == "two three"


def test_a_chunk_of_another_size_is_refused(tmp_path: Path) -> None:
    recognizer = load_live(graphs.nemo_live_ctc(tmp_path))
    stream = recognizer.open(StreamOptions())
    with pytest.raises(UsageError, match=f"must have {CHUNK} samples: {CHUNK - 1}"):
        recognizer.step([Feed(stream, np.zeros(CHUNK - 1, np.float32))])
    with pytest.raises(UsageError, match=f"must have {CHUNK} samples: {CHUNK + 1}"):
        recognizer.step([Feed(stream, np.zeros(CHUNK + 1, np.float32), is_last=True)])
    recognizer.unload()


def test_slots_are_limited_and_given_back(tmp_path: Path) -> None:
    model = open_model(graphs.nemo_live_ctc(tmp_path), "cpu", None)
    plan = plan_for(model, "cpu", 1)
    whole = load_live(tmp_path)
    info = whole.info
    whole.unload()
    assert plan.windows is not None
    recognizer = SherpaStreamingRecognizer(info, plan, plan.windows, 2, Tracer())
    first, _ = (recognizer.open(StreamOptions()) for _ in range(2))
    with pytest.raises(EngineError, match="all slots are taken: 2"):
        recognizer.open(StreamOptions())
    recognizer.close(first)
    assert recognizer.open(StreamOptions()) != first
    recognizer.unload()


def test_chunk_and_lookahead_follow_from_the_metadata(tmp_path: Path) -> None:
    nemo = load_live(graphs.nemo_live_transducer(tmp_path / "nemo")).info.streaming
    zipformer = load_live(graphs.zipformer_live_ctc(tmp_path / "zipformer")).info.streaming
    assert nemo is not None
    assert zipformer is not None
    assert (nemo.chunk_ms, nemo.lookahead_ms) == ((160,), (80,))
    assert (zipformer.chunk_ms, zipformer.lookahead_ms) == ((80,), (200,))
    assert nemo.bytes_per_slot == (4 * (1 + 4) + 8,)
