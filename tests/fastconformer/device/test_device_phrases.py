"""Key phrases on a device: a planted word is heard right where it was asked for, as on the CPU, and nowhere else."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

import pytest

from auricle.errors import EngineError, UnsupportedError
from auricle.fastconformer.device.streams import DeviceStreams
from auricle.fastconformer.device.whole import DeviceFastConformer
from auricle.fastconformer.streaming.streams import LiveStreams
from tests.fastconformer.checkpoints import recording
from tests.fastconformer.device.devices import CPU, live, on_device, same_class, told, whole
from tests.fastconformer.homophones import homophone, phrase, planted, spoken, texts, turned
from tests.fastconformer.live import at_random, play

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from auricle.fastconformer.device.model import DeviceModel
    from auricle.fastconformer.model import FastConformer
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.tokens import Token

TEXTS = texts()
AUDIO = [spoken(one) for one in TEXTS]
LENGTHS = (40_000, 160, 31_003, 1481, 17_841, 0)
PHRASES = (("da", "ki la"), (), ("ge do", "gu so"), (), ("so",), ("da",))


@cache
def model() -> DeviceModel:
    return live(planted())


def opened(chunk_ms: int = 160, rows: int = 8) -> tuple[DeviceStreams, LatencyClass]:
    streams = DeviceStreams(model(), 16, (rows,))
    return streams, next(one for one in streams.classes if one.chunk_ms == chunk_ms)


def text(tokens: Sequence[Token]) -> str:
    return homophone().tokenizer.text(tokens)


@pytest.mark.parametrize("chunk_ms", [80, 1120])
def test_only_the_stream_that_asked_hears_the_word_and_the_others_are_the_same_bit_for_bit(chunk_ms: int) -> None:
    streams, latency = opened(chunk_ms)
    plain = [one.tokens for one in play(streams, latency, AUDIO)]
    assert [text(one) for one in plain] == TEXTS
    for asking in (0, 5):
        streams, latency = opened(chunk_ms)
        phrases = [[phrase(TEXTS[asking])] if place == asking else [] for place in range(len(TEXTS))]
        heard = [one.tokens for one in play(streams, latency, AUDIO, at_random(random.Random(asking)), phrases)]
        assert text(heard[asking]) == turned(TEXTS[asking])
        assert heard[:asking] + heard[asking + 1 :] == plain[:asking] + plain[asking + 1 :]
        assert (streams.runs.graphed, streams.runs.eager > 0) == (0, True)


@pytest.mark.parametrize("name", ["rnnt_stream", "live_tdt"])
def test_streams_with_phrases_of_their_own_say_what_they_say_on_the_cpu(
    name: str, tmp_path: Path, built: Callable[[str], FastConformer]
) -> None:
    audio = [recording(samples, seed=samples) for samples in LENGTHS]
    here, wanted = on_device(name, tmp_path), LiveStreams(built(name), 64)
    for latency in here.classes:
        streams = DeviceStreams(here, len(audio), (4,))
        found = play(streams, latency, audio, at_random(random.Random(1)), PHRASES)
        there = play(wanted, same_class(latency, wanted.classes), audio, at_random(random.Random(2)), PHRASES)
        for one, other in zip(found, there, strict=True):
            assert told(one.tokens) == told(other.tokens)
            for token, same in zip(one.tokens, other.tokens, strict=True):
                assert token.probability == pytest.approx(same.probability, abs=1e-4)
            wanted.close(other.stream)
    latency = here.classes[-1]
    plain, found = (play(DeviceStreams(here, 6, (4,)), latency, audio, phrases=asked) for asked in (None, PHRASES))
    changed = [one.tokens != other.tokens for one, other in zip(found, plain, strict=True)]
    assert any(changed)
    assert not any(change for change, asked in zip(changed, PHRASES, strict=True) if not asked)


@pytest.mark.parametrize("name", ["rnnt", "tdt", "tdt_slow", "hybrid_tdt"])
def test_recordings_with_phrases_say_what_they_say_on_the_cpu(
    name: str, tmp_path: Path, built: Callable[[str], FastConformer]
) -> None:
    here, there = whole(name, tmp_path), built(name)
    batch = [recording(samples, seed=samples) for samples in LENGTHS[:5]]
    phrases = there.spell(["da", "ki la", "gu so"])
    plain = here.decode(*here.encode(batch))
    found = here.decode(*here.encode(batch), phrases=phrases)
    wanted = there.decode(*there.encode(batch), phrases=phrases)
    assert [told(one) for one in found] == [told(one) for one in wanted]
    assert found != plain == here.decode(*here.encode(batch))
    assert here.runs.graphed == 0


def test_a_file_with_the_phrase_has_the_planted_word() -> None:
    here = DeviceFastConformer(planted(), CPU)
    frames = here.encode(AUDIO)
    before = here.runs.eager
    found = here.decode(*frames, phrases=here.spell([phrase(TEXTS[0])]))
    assert text(found[0]) == turned(TEXTS[0])
    assert here.runs.eager > before


def test_a_slot_that_had_phrases_has_none_for_the_next_stream_and_their_room_is_free_again() -> None:
    streams = DeviceStreams(model(), 1, (1,))
    for asked in ([phrase(TEXTS[0])], [], [phrase(TEXTS[0])]):
        (one,) = play(streams, streams.classes[1], AUDIO[:1], phrases=[asked])
        assert text(one.tokens) == (turned(TEXTS[0]) if asked else TEXTS[0])
        streams.close(one.stream)
    streams.open(streams.classes[0], ["nine nine"])
    with pytest.raises(EngineError, match="all places"):
        streams.open(streams.classes[0], ["one"])


def test_phrases_that_cannot_be_used_take_no_place() -> None:
    streams = DeviceStreams(model(), 1, (1,))
    with pytest.raises(UnsupportedError, match="Zürich"):
        streams.open(streams.classes[0], ["Zürich"])
    streams.open(streams.classes[0])
