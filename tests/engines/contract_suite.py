"""The tests that every engine passes: subclass `EngineContract`, and `LiveContract` where the engine serves streams."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from auricle.audio import Audio
from auricle.engines.contract import (
    Engine,
    Feed,
    LoadOptions,
    Recognizer,
    StreamingRecognizer,
    StreamOptions,
    TranscribeOptions,
)
from auricle.errors import AuricleError, CancelledError, EngineError, UnsupportedError
from auricle.trace import Tracer
from auricle.transcript import Hypothesis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLAIN = TranscribeOptions()
CANCEL_LIMIT_S = 2.0
UNLOAD_SLACK_BYTES = 40_000_000


def resident_bytes() -> int:
    """Resident memory of this process and of its children."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(process.memory_info().rss for process in processes)


def silence(seconds: float, rate: int) -> Audio:
    return Audio(np.zeros(round(seconds * rate), np.float32), rate, "silence")


def texts(recognizer: Recognizer, batch: Sequence[Audio], options: TranscribeOptions = PLAIN) -> list[str]:
    return [transcript.text for transcript in recognizer.transcribe(batch, options)]


class EngineContract:
    """What holds for every engine; `engine`, `options` and `speech` say which."""

    hears_silence = False
    keyword = "hello"

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> LoadOptions:
        return LoadOptions()

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        """At least three recordings of different lengths, at the model's rate, of a few seconds each."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def recognizer(cls, engine: Engine, options: LoadOptions) -> Iterator[Recognizer]:
        recognizer = engine.load(options, Tracer())
        yield recognizer
        recognizer.unload()

    def test_speech_gives_text(self, recognizer: Recognizer, speech: Sequence[Audio]) -> None:
        assert all(texts(recognizer, speech))

    def test_batching_and_order_do_not_change_the_text(self, recognizer: Recognizer, speech: Sequence[Audio]) -> None:
        alone = [texts(recognizer, [audio])[0] for audio in speech]
        assert texts(recognizer, speech) == alone
        assert texts(recognizer, speech[::-1]) == alone[::-1]

    def test_an_empty_batch_gives_no_transcripts(self, recognizer: Recognizer) -> None:
        assert recognizer.transcribe([], PLAIN) == []

    @pytest.mark.parametrize("seconds", [0.0, 0.001, 0.05])
    def test_very_short_audio_is_accepted(self, recognizer: Recognizer, seconds: float) -> None:
        audio = silence(seconds, recognizer.info.sample_rate)
        (transcript,) = recognizer.transcribe([audio], PLAIN)
        assert transcript.duration_s == pytest.approx(seconds)
        assert self.hears_silence or not transcript.text

    def test_digital_silence_has_no_words(self, recognizer: Recognizer) -> None:
        (text,) = texts(recognizer, [silence(5.0, recognizer.info.sample_rate)])
        assert bool(text) == self.hears_silence

    def test_ten_minutes_are_recognised_or_refused_by_length(
        self, recognizer: Recognizer, speech: Sequence[Audio]
    ) -> None:
        rate = recognizer.info.sample_rate
        samples = np.zeros(600 * rate, np.float32)
        samples[-len(speech[0].samples) :] = speech[0].samples
        long = Audio(samples, rate, "ten-minutes")
        if recognizer.info.max_audio_s is not None and recognizer.info.max_audio_s < long.duration_s:
            with pytest.raises(UnsupportedError, match=r"at most .* ten-minutes has 600\.0 s"):
                recognizer.transcribe([long], PLAIN)
        else:
            assert texts(recognizer, [long])[0]

    def test_another_sample_rate_is_refused_by_name(self, recognizer: Recognizer) -> None:
        rate = recognizer.info.sample_rate
        with pytest.raises(UnsupportedError, match=f"{rate} Hz.*other has {rate + 1} Hz"):
            recognizer.transcribe([Audio(np.zeros(rate, np.float32), rate + 1, "other")], PLAIN)

    def test_word_times_are_monotonic_and_inside_the_audio_or_refused(
        self, recognizer: Recognizer, speech: Sequence[Audio]
    ) -> None:
        options = TranscribeOptions(word_times=True)
        if "word_times" not in recognizer.info.features:
            with pytest.raises(UnsupportedError, match="word times"):
                recognizer.transcribe(speech, options)
            return
        for transcript in recognizer.transcribe(speech, options):
            times = [time for word in transcript.words for time in (word.start, word.end)]
            assert times
            assert times == sorted(times)
            assert times[0] >= 0
            assert times[-1] <= transcript.duration_s
            assert " ".join(word.text for word in transcript.words) == transcript.text

    @pytest.mark.parametrize(
        ("feature", "request_options"),
        [
            ("prompt", TranscribeOptions(prompt="hello")),
            ("keywords", TranscribeOptions(keywords=("hello",))),
            ("language", TranscribeOptions(language="xx-unknown")),
        ],
    )
    def test_what_cannot_be_honoured_is_refused(
        self, recognizer: Recognizer, speech: Sequence[Audio], feature: str, request_options: TranscribeOptions
    ) -> None:
        if request_options.keywords:
            request_options = TranscribeOptions(keywords=(self.keyword,))
        honoured = feature in recognizer.info.features and (feature != "language" or "*" in recognizer.info.languages)
        if honoured:
            assert recognizer.transcribe(speech[:1], request_options)
        else:
            with pytest.raises(UnsupportedError):
                recognizer.transcribe(speech[:1], request_options)

    def test_a_request_does_not_change_the_next(self, recognizer: Recognizer, speech: Sequence[Audio]) -> None:
        before = texts(recognizer, speech[:1])
        if "word_times" in recognizer.info.features:
            recognizer.transcribe(speech[:1], TranscribeOptions(word_times=True))
        with pytest.raises(AuricleError):
            recognizer.transcribe([Audio(speech[0].samples, 1)], PLAIN)
        assert texts(recognizer, speech[:1]) == before

    def test_options_and_info_are_frozen(self, recognizer: Recognizer, options: LoadOptions) -> None:
        for frozen, field in ((options, "device"), (recognizer.info, "device"), (PLAIN, "language")):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(frozen, field, "other")

    def test_what_was_loaded_is_told(self, recognizer: Recognizer, engine: Engine, options: LoadOptions) -> None:
        info = recognizer.info
        assert info.engine == engine.name
        assert info.device == options.device
        assert info.sample_rate > 0
        assert info.precision

    def test_two_threads_get_the_texts_they_would_get_alone(
        self, recognizer: Recognizer, speech: Sequence[Audio]
    ) -> None:
        alone = texts(recognizer, speech)
        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(lambda _: texts(recognizer, speech), range(2)))
        assert answers == [alone, alone]

    def test_a_cancelled_call_ends_soon_and_leaves_the_recogniser_usable(
        self, recognizer: Recognizer, speech: Sequence[Audio]
    ) -> None:
        cancel = threading.Event()
        batch = [*speech] * 20
        threading.Timer(0.2, cancel.set).start()
        start = time.monotonic()
        try:
            recognizer.transcribe(batch, PLAIN, cancel)
        except CancelledError:
            assert time.monotonic() - start < CANCEL_LIMIT_S
        else:
            assert time.monotonic() - start < CANCEL_LIMIT_S, "the call was not cancelled, and was not fast either"
        assert all(texts(recognizer, speech[:1]))

    def test_a_call_cancelled_beforehand_raises(self, recognizer: Recognizer, speech: Sequence[Audio]) -> None:
        cancel = threading.Event()
        cancel.set()
        with pytest.raises(CancelledError):
            recognizer.transcribe(speech, PLAIN, cancel)

    def test_stages_are_traced_and_fit_into_the_call(
        self, engine: Engine, options: LoadOptions, speech: Sequence[Audio]
    ) -> None:
        tracer = Tracer()
        recognizer = engine.load(options, tracer)
        try:
            tracer.drain()
            start = time.perf_counter()
            recognizer.transcribe(speech[:1], PLAIN)
            total = time.perf_counter() - start
        finally:
            recognizer.unload()
        spans = tracer.drain()
        assert spans
        assert all(start <= span.start_s for span in spans)
        assert sum(span.duration_s for span in spans) <= total

    def test_unloading_gives_memory_and_processes_back(
        self, engine: Engine, options: LoadOptions, speech: Sequence[Audio]
    ) -> None:
        gc.collect()
        before, children = resident_bytes(), set(psutil.Process().children(recursive=True))
        recognizer = engine.load(options, Tracer())
        recognizer.transcribe(speech, PLAIN)
        recognizer.unload()
        gc.collect()
        assert resident_bytes() < before + UNLOAD_SLACK_BYTES
        assert set(psutil.Process().children(recursive=True)) <= children

    def test_an_unloaded_recogniser_says_so(
        self, engine: Engine, options: LoadOptions, speech: Sequence[Audio]
    ) -> None:
        recognizer = engine.load(options, Tracer())
        recognizer.unload()
        recognizer.unload()
        with pytest.raises(EngineError, match="unloaded"):
            recognizer.transcribe(speech[:1], PLAIN)

    @pytest.mark.parametrize("change", [{"device": "warp-drive"}, {"precision": "fp7"}])
    def test_an_unknown_device_or_precision_is_refused(
        self, engine: Engine, options: LoadOptions, change: dict[str, str]
    ) -> None:
        with pytest.raises(UnsupportedError, match=next(iter(change.values()))):
            engine.load(dataclasses.replace(options, **change), Tracer())  # type: ignore[arg-type]  # wrong on purpose

    def test_every_support_row_that_is_not_usable_says_why(self, engine: Engine) -> None:
        rows = engine.support()
        assert rows
        assert all(row.usable or row.reason for row in rows)


class LiveContract:
    """What holds for every engine that serves live streams; mixed into an `EngineContract`."""

    keyword = "hello"

    @classmethod
    def feed(cls, recognizer: StreamingRecognizer, streams: Sequence[tuple[int, Audio]]) -> list[str]:
        """Feed one utterance to each stream, all in step, and return the final texts."""
        assert recognizer.info.streaming is not None
        chunk = recognizer.info.streaming.chunk_ms[0] * recognizer.info.sample_rate // 1000
        first = chunk - recognizer.info.streaming.first_short
        finals: dict[int, str] = {}
        for end in range(first, max(len(audio.samples) for _, audio in streams) + chunk + 1, chunk):
            ready = [
                Feed(stream, audio.samples[max(end - chunk, 0) : end], is_last=end > len(audio.samples))
                for stream, audio in streams
                if stream not in finals
            ]
            for result in recognizer.step(ready):
                assert isinstance(result, Hypothesis)
                if result.is_final:
                    finals[result.stream] = result.text
        return [finals[stream] for stream, _ in streams]

    @pytest.fixture(scope="class")
    @classmethod
    def live(cls, recognizer: Recognizer) -> StreamingRecognizer:
        assert isinstance(recognizer, StreamingRecognizer)
        assert recognizer.info.streaming is not None
        return recognizer

    @pytest.fixture(scope="class")
    @classmethod
    def alone(cls, live: StreamingRecognizer, speech: Sequence[Audio]) -> list[str]:
        """The live text of every recording on a fresh stream, alone."""
        finals = []
        for audio in speech:
            stream = live.open(StreamOptions())
            finals += cls.feed(live, [(stream, audio)])
            live.close(stream)
        return finals

    def test_live_speech_gives_text(self, alone: list[str]) -> None:
        assert all(alone)

    def test_neighbours_do_not_change_a_stream(
        self, live: StreamingRecognizer, speech: Sequence[Audio], alone: list[str]
    ) -> None:
        streams = [live.open(StreamOptions()) for _ in speech]
        assert self.feed(live, list(zip(streams, speech, strict=True))) == alone
        for stream in streams:
            live.close(stream)

    def test_a_stream_starts_clean_after_its_last_chunk(
        self, live: StreamingRecognizer, speech: Sequence[Audio], alone: list[str]
    ) -> None:
        stream = live.open(StreamOptions())
        assert [self.feed(live, [(stream, audio)])[0] for audio in speech] == alone
        live.close(stream)

    def test_audio_consumed_and_word_times_count_from_the_opening(
        self, live: StreamingRecognizer, speech: Sequence[Audio]
    ) -> None:
        assert live.info.streaming is not None
        chunk = live.info.streaming.chunk_ms[0] * live.info.sample_rate // 1000 - live.info.streaming.first_short
        stream = live.open(StreamOptions())
        self.feed(live, [(stream, speech[0])])
        (partial,) = live.step([Feed(stream, np.zeros(chunk, np.float32))])
        (final,) = live.step([Feed(stream, np.zeros(0, np.float32), is_last=True)])
        assert isinstance(partial, Hypothesis)
        assert isinstance(final, Hypothesis)
        assert not partial.is_final
        assert final.is_final
        assert partial.audio_s == pytest.approx(speech[0].duration_s + chunk / live.info.sample_rate)
        assert final.audio_s == pytest.approx(partial.audio_s)
        assert all(word.start >= speech[0].duration_s - 0.01 for word in final.words)
        live.close(stream)

    def test_an_unknown_stream_is_refused(self, live: StreamingRecognizer) -> None:
        with pytest.raises(EngineError, match="unknown stream"):
            live.step([Feed(10**9, np.zeros(10, np.float32))])
        with pytest.raises(EngineError, match="unknown stream"):
            live.close(10**9)

    def test_a_closed_stream_is_not_reused(self, live: StreamingRecognizer) -> None:
        first = live.open(StreamOptions())
        live.close(first)
        second = live.open(StreamOptions())
        assert second != first
        with pytest.raises(EngineError, match="unknown stream"):
            live.step([Feed(first, np.zeros(10, np.float32))])
        live.close(second)

    def test_keywords_are_honoured_or_refused(self, live: StreamingRecognizer) -> None:
        if "keywords" in live.info.features:
            live.close(live.open(StreamOptions(keywords=(self.keyword,))))
        else:
            with pytest.raises(UnsupportedError, match="keywords"):
                live.open(StreamOptions(keywords=("hello",)))

    def test_a_chunk_size_the_model_lacks_is_refused(self, live: StreamingRecognizer) -> None:
        with pytest.raises(UnsupportedError, match="12345"):
            live.open(StreamOptions(chunk_ms=12345))
