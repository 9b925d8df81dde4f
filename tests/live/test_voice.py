"""Real speech with silences of known length: where voice is heard, and that no sample is lost or repeated for it."""

from __future__ import annotations

import asyncio
import time
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.audio import Audio, PcmDecoder, PcmFormat, load
from auricle.audio.resample import Resampler
from auricle.engines import null, pocketsphinx
from auricle.engines.contract import LoadOptions, StreamOptions, TranscribeOptions
from auricle.live.admission import Admission, AdmissionRules
from auricle.live.buffer import Mark
from auricle.live.endpoint import EndpointRules, VoiceRules
from auricle.live.events import Event, Final, Partial, SpeechStarted, SpeechStopped
from auricle.live.hub import HubRules, LiveHub
from auricle.live.scheduler import Scheduler
from auricle.live.stream import make_stream
from auricle.trace import Tracer
from tests.live.fakes import FakeRecognizer
from tests.live.spoken import RATE, Samples, planted, silence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from auricle.engines.contract import StreamingRecognizer

VOICE = EndpointRules(None, None, None, VoiceRules(silence_s=0.5))
TALK = planted(0.8, "demo-sentence-08", 0.9, "demo-digits-24", 1.2, "demo-sentence-04", 0.8)
EARLY_S, LATE_S = 0.1, 0.35
"""How far a start or a stop may lie from where speech was cut off; soft consonants are heard late, noise rings on."""
PACKET = 1600


@pytest.fixture(scope="module")
def sphinx() -> Iterator[StreamingRecognizer]:
    recognizer = pocketsphinx.ENGINE.load(LoadOptions(threads=1), Tracer())
    yield recognizer
    recognizer.unload()


def null_engine() -> StreamingRecognizer:
    return null.ENGINE.load(LoadOptions(), Tracer())


def packets(samples: Samples, size: int = PACKET) -> list[Samples]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def play(
    recognizer: StreamingRecognizer,
    pieces: Iterable[Samples],
    rules: EndpointRules = VOICE,
    chunk_ms: int | None = None,
) -> list[Event]:
    """Return all that a stream of these pieces tells, to its end."""
    slots = recognizer.info.streaming.slots if recognizer.info.streaming else 0
    scheduler = Scheduler(recognizer, Admission(AdmissionRules(None), 0.02, slots), time.perf_counter)
    stream = make_stream(recognizer, StreamOptions(chunk_ms), rules)
    scheduler.add(stream)
    told: list[Event] = []
    for piece in pieces:
        if stream.buffer.append(piece, 0.0):
            scheduler.notify(stream)
        told += [event for _, event in chain.from_iterable(scheduler.tick())]
    if stream.buffer.mark(Mark(ends_stream=True), 0.0):
        scheduler.notify(stream)
    while scheduler.has_work:
        told += [event for _, event in chain.from_iterable(scheduler.tick())]
    return told


def speech_of(told: Iterable[Event]) -> list[SpeechStarted | SpeechStopped]:
    return [event for event in told if isinstance(event, SpeechStarted | SpeechStopped)]


def heard_spans(told: Iterable[Event]) -> list[tuple[float, float]]:
    """Return from where to where voice was heard; starts and stops must alternate."""
    events = speech_of(told)
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped] * (len(events) // 2)
    return [(one.time_s, two.time_s) for one, two in zip(events[::2], events[1::2], strict=True)]


def finals(told: Iterable[Event]) -> list[Final]:
    return [event for event in told if isinstance(event, Final)]


def cut(samples: Samples, final: Final) -> Samples:
    return samples[round(final.start_s * RATE) : round(final.audio_s * RATE)]


def assert_near(found: list[tuple[float, float]], wanted: list[tuple[float, float]]) -> None:
    assert len(found) == len(wanted), found
    for (start, stop), (wanted_start, wanted_stop) in zip(found, wanted, strict=True):
        assert wanted_start - EARLY_S <= start <= wanted_start + LATE_S
        assert wanted_stop - EARLY_S <= stop <= wanted_stop + LATE_S


def noisy(samples: Samples) -> Samples:
    return samples + np.random.default_rng(7).normal(0, 0.005, len(samples)).astype(np.float32)


def clicking(samples: Samples) -> Samples:
    clicks = samples.copy()
    clicks[5 * RATE // 4 :: RATE] = 1
    clicks[5 * RATE // 4 + 1 :: RATE] = -1
    return clicks


def converted(samples: Samples, source: int, target: int) -> Samples:
    resampler = Resampler(source, target)
    return np.concatenate([resampler.feed(samples), resampler.finish()])


def over_the_telephone(samples: Samples) -> Samples:
    """Return what is left of the samples after 8 kHz and 8 bits, as the server converts it back."""
    narrow = converted(samples, RATE, 8000)
    law = np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)
    decoder = PcmDecoder(PcmFormat("f32le", 8000), RATE)
    coarse = np.round(law * 127) / 127
    back = (np.sign(coarse) * ((256 ** np.abs(coarse)) - 1) / 255).astype(np.float32)
    return np.concatenate([decoder.feed(back.tobytes()), decoder.finish()])


TREATMENTS: dict[str, Callable[[Samples], Samples]] = {
    "clean": lambda samples: samples,
    "noise": noisy,
    "clicks": clicking,
    "offset": lambda samples: np.clip(samples * np.float32(0.8) + np.float32(0.1), -1, 1),
    "quiet": lambda samples: samples * np.float32(0.1),
    "telephone": over_the_telephone,
}


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_starts_and_stops_lie_where_speech_was_planted(treatment: str) -> None:
    told = play(null_engine(), packets(TREATMENTS[treatment](TALK.samples)))
    assert_near(heard_spans(told), TALK.spans)
    assert [final.audio_s for final in finals(told)][:-1] == [
        pytest.approx(stop + 0.5, abs=0.033) for _, stop in heard_spans(told)
    ]


def test_a_model_at_8_khz_has_its_voice_heard_too() -> None:
    told = play(FakeRecognizer(rate=8000), packets(converted(TALK.samples, RATE, 8000)))
    assert_near(heard_spans(told), TALK.spans)
    assert [final.audio_s for final in finals(told)][:-1] == [
        pytest.approx(stop + 0.5, abs=0.04) for _, stop in heard_spans(told)
    ]


def test_at_8_khz_too_what_is_heard_does_not_depend_on_the_cutting() -> None:
    samples = converted(TALK.samples, RATE, 8000)
    wanted = play(FakeRecognizer(rate=8000), packets(samples, 800), chunk_ms=100)
    for size in (37, 500, 9999):
        told = play(FakeRecognizer(rate=8000), packets(samples, size), chunk_ms=400)
        assert speech_of(told) == speech_of(wanted)
        assert [final.audio_s for final in finals(told)] == [final.audio_s for final in finals(wanted)]


def test_speech_at_the_very_start_and_to_the_very_end_is_told() -> None:
    talk = planted("demo-sentence-08", 0.9, "demo-sentence-04")
    told = play(null_engine(), packets(talk.samples))
    assert_near(heard_spans(told), talk.spans)
    assert isinstance(told[-1], Final)
    assert isinstance(told[-2], SpeechStopped)


@pytest.mark.parametrize(
    "samples",
    [
        silence(10),
        clicking(silence(10)),
        noisy(silence(10)),
        silence(10) + np.float32(0.3),
        np.random.default_rng(3).uniform(-0.9, 0.9, 10 * RATE).astype(np.float32),
    ],
    ids=["silence", "clicks", "noise", "offset", "loud noise"],
)
def test_what_is_no_speech_starts_and_ends_nothing(samples: Samples) -> None:
    told = play(null_engine(), packets(samples))
    assert heard_spans(told) == []
    assert [final.audio_s for final in finals(told)] == [10.0]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=60), st.sampled_from([80, 100, 160, 560, 1120]))
def test_however_the_audio_is_cut_the_same_is_heard_at_the_same_samples(sizes: list[int], chunk_ms: int) -> None:
    ends = [end for end in np.cumsum(sizes) if end < len(TALK.samples)]
    told = play(null_engine(), np.split(TALK.samples, ends), chunk_ms=chunk_ms)
    wanted = play(null_engine(), packets(TALK.samples))
    assert heard_spans(told) == heard_spans(wanted)
    assert finals(told) == finals(wanted)


def test_at_an_endpoint_no_sample_is_lost_and_none_repeated() -> None:
    told = finals(play(null_engine(), packets(TALK.samples, 777), chunk_ms=1120))
    assert [final.start_s for final in told] == [0.0, *(final.audio_s for final in told[:-1])]
    assert told[-1].audio_s == pytest.approx(len(TALK.samples) / RATE)
    recognizer = null_engine()
    alone = recognizer.transcribe([Audio(cut(TALK.samples, final), RATE) for final in told], TranscribeOptions())
    assert [final.text for final in told] == [transcript.text for transcript in alone]


def test_each_utterance_has_the_text_it_has_alone(sphinx: StreamingRecognizer) -> None:
    told = play(sphinx, packets(TALK.samples))
    utterances = [final for final in finals(told) if final.text]
    assert len(utterances) == 3
    for final in utterances:
        (alone,) = finals(play(sphinx, packets(cut(TALK.samples, final)), EndpointRules(None, None, None)))
        assert final.text == alone.text


def test_ending_by_voice_costs_no_words(sphinx: StreamingRecognizer) -> None:
    names = ["demo-digits-24", "demo-digits-11", "demo-digits-16"]
    talk = planted(0.5, *(part for name in names for part in (name, 1.0)))
    told = play(sphinx, packets(talk.samples))
    for name, final in zip(names, finals(told), strict=False):
        whole = planted(0.5, name, 0.5).samples
        (alone,) = finals(play(sphinx, packets(whole), EndpointRules(None, None, None)))
        assert len(final.text.split()) == len(alone.text.split())


def test_the_tail_of_the_last_word_is_never_cut_off() -> None:
    rules = EndpointRules(None, None, None, VoiceRules(silence_s=0.01))
    told = play(null_engine(), packets(TALK.samples), rules)
    for _, stop in TALK.spans:
        assert not any(stop - 0.1 < final.audio_s < stop for final in finals(told))


def test_recorded_speech_between_silences_is_found(data: Path) -> None:
    recording = load(data / "unlabelled" / "1088-129236-0000.flac", RATE).samples[: 6 * RATE]
    samples = np.concatenate([silence(1.5), recording, silence(1.5)])
    spans = heard_spans(play(null_engine(), packets(samples)))
    assert spans
    assert spans[0][0] >= 1.5 - EARLY_S
    assert spans[-1][1] <= 7.5 + LATE_S
    assert sum(stop - start for start, stop in spans) > 3


def test_recordings_without_speech_stay_without(data: Path) -> None:
    samples = load(data / "formats" / "empty-8s.wav", RATE).samples
    assert heard_spans(play(null_engine(), packets(samples))) == []


def test_a_slow_reader_is_told_every_start_and_stop_in_order() -> None:
    async def scenario() -> list[Event]:
        hub = LiveHub(null_engine(), HubRules(AdmissionRules(None)))
        try:
            session = await hub.open(StreamOptions(), VOICE)
            for piece in packets(TALK.samples):
                await session.feed(piece)
            session.end()
            assert await hub.drain(30)
            return [event async for event in session.events()]
        finally:
            await hub.stop()

    told = asyncio.run(scenario())
    assert_near(heard_spans(told), TALK.spans)
    for place, event in enumerate(told):
        if isinstance(event, SpeechStarted):
            kinds = [type(each) for each in told[place : place + 4]]
            assert kinds == [SpeechStarted, Partial, SpeechStopped, Final]


def test_streams_hear_their_own_voice_whoever_else_speaks() -> None:
    recognizer = null_engine()
    scheduler = Scheduler(recognizer, Admission(AdmissionRules(None), 0.02, 99), time.perf_counter)
    talks = [TALK, planted("demo-digits-11", 1.0), planted(2.0), planted(0.3, "demo-sentence-08", 0.7), TALK]
    streams = [make_stream(recognizer, StreamOptions(), VOICE) for _ in talks]
    told: dict[int, list[Event]] = {place: [] for place in range(len(talks))}
    for stream in streams:
        scheduler.add(stream)
    for turn in range(max(len(talk.samples) for talk in talks) // PACKET + 1):
        for stream, talk in zip(streams, talks, strict=True):
            piece = talk.samples[turn * PACKET : (turn + 1) * PACKET]
            if stream.buffer.append(piece, 0.0):
                scheduler.notify(stream)
        while scheduler.has_work:
            for stream, event in chain.from_iterable(scheduler.tick()):
                told[streams.index(stream)].append(event)
    for place, talk in enumerate(talks):
        alone = speech_of(play(null_engine(), packets(talk.samples)))
        assert speech_of(told[place]) == alone
        assert len(alone) == 2 * len(talk.spans)
