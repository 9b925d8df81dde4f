"""Recordings of any length and number become transcripts, each on its own, whatever happens to the others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.engines import null
from auricle.engines.contract import LoadOptions, TranscribeOptions
from auricle.engines.longform import PIECE_S, Longform, Outcome, Source
from auricle.errors import AudioError, CancelledError, EngineError
from auricle.trace import Tracer
from auricle.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from auricle.audio import Audio

RATE = null.SAMPLE_RATE
TIMED = TranscribeOptions(word_times=True)


def noise(seconds: float, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.1, 0.1, round(seconds * RATE)).astype(np.float32)


def source(name: str, samples: NDArray[np.float32], error: AudioError | None = None) -> Source:
    def blocks() -> Iterator[NDArray[np.float32]]:
        yield from (samples[start : start + RATE] for start in range(0, len(samples), RATE))
        if error is not None:
            raise error

    return Source(name, blocks)


def run(sources: Sequence[Source], batch_size: int = 1, *, skip_silence: bool = False) -> dict[str, Outcome]:
    recognizer = null.ENGINE.load(LoadOptions(), Tracer())
    longform = Longform(recognizer, TIMED, batch_size=batch_size, skip_silence=skip_silence)
    return {outcome.name: outcome for outcome in longform.run(sources)}


def transcript(outcome: Outcome) -> Transcript:
    assert isinstance(outcome.result, Transcript)
    return outcome.result


def test_a_long_recording_is_heard_once_and_whole() -> None:
    result = transcript(run([source("long", noise(100.0, 1))])["long"])
    assert result.duration_s == pytest.approx(100.0)
    heard_s = sum(word.end - word.start for word in result.words)
    assert heard_s == pytest.approx(100.0, abs=1e-6)
    edges = [edge for word in result.words for edge in (word.start, word.end)]
    assert edges == pytest.approx(sorted(edges))
    assert max(segment.end - segment.start for segment in result.segments) <= PIECE_S


@pytest.mark.parametrize("batch_size", [2, 3, 7, 50])
def test_batches_across_recordings_change_nothing(batch_size: int) -> None:
    sources = [source(str(seed), noise(seconds, seed)) for seed, seconds in enumerate((70, 3, 31, 0.5, 45))]
    assert run(sources, batch_size) == run(sources)


def test_outcomes_come_in_the_order_of_the_sources() -> None:
    sources = [source(str(seed), noise(seconds, seed)) for seed, seconds in enumerate((65, 1, 40))]
    assert list(run(sources, batch_size=4)) == ["0", "1", "2"]


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_recording_that_breaks_off_fails_alone(batch_size: int) -> None:
    error = AudioError("broken", "bad")
    sources = [source("a", noise(2, 1)), source("bad", noise(65, 2), error), source("b", noise(3, 3))]
    outcomes = run(sources, batch_size)
    assert outcomes["bad"].result is error
    assert transcript(outcomes["a"]).text
    assert transcript(outcomes["b"]).text


class PickyRecognizer(null.NullRecognizer):
    """Refuses every batch that holds a recording called `poison`."""

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        if any(audio.source == "poison" for audio in batch):
            raise EngineError("cannot recognise", "poison")
        return super().transcribe(batch, options, cancel)


def test_a_recording_the_engine_cannot_take_does_not_fail_its_neighbours() -> None:
    recognizer = PickyRecognizer(null.ENGINE.load(LoadOptions(), Tracer()).info, Tracer())
    sources = [source(name, noise(2, 1)) for name in ("a", "poison", "b")]
    longform = Longform(recognizer, TIMED, batch_size=3, skip_silence=False)
    outcomes = {outcome.name: outcome for outcome in longform.run(sources)}
    assert isinstance(outcomes["poison"].result, EngineError)
    assert transcript(outcomes["a"]).duration_s == transcript(outcomes["b"]).duration_s == pytest.approx(2.0)


def test_stretches_without_speech_are_left_out_and_still_take_their_time() -> None:
    result = transcript(run([source("hiss", noise(70, 4))], skip_silence=True)["hiss"])
    assert result.text == ""
    assert result.duration_s == pytest.approx(70.0)


def test_an_empty_recording_has_an_empty_transcript() -> None:
    assert run([source("empty", noise(0, 0))])["empty"].result == Transcript("", 0.0)


def test_cancelling_ends_the_whole_work() -> None:
    cancel = threading.Event()
    recognizer = null.ENGINE.load(LoadOptions(), Tracer())
    longform = Longform(recognizer, TIMED, skip_silence=False, cancel=cancel, progress=lambda _: cancel.set())
    with pytest.raises(CancelledError):
        list(longform.run([source("long", noise(100, 1))]))


def test_progress_reaches_the_length_of_all_recordings() -> None:
    told: list[float] = []
    recognizer = null.ENGINE.load(LoadOptions(), Tracer())
    longform = Longform(recognizer, TIMED, skip_silence=False, progress=told.append)
    list(longform.run([source("a", noise(65, 1)), source("b", noise(2, 2))]))
    assert told == sorted(told)
    assert told[-1] == pytest.approx(67.0)
