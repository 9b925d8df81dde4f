"""Slots: what a stream is told depends on nothing but its own audio."""

from __future__ import annotations

import random
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from auricle.errors import EngineError, UnsupportedError
from auricle.fastconformer.memory import slot_values
from auricle.fastconformer.reading import parse_config
from auricle.fastconformer.streaming.latency import latency_classes
from auricle.fastconformer.streaming.streams import BLOCKS, Fed, LiveStreams, blocks
from tests.fastconformer.checkpoints import MODELS, config, recording
from tests.fastconformer.live import Play, Recorder, play

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auricle.fastconformer.model import FastConformer

STREAMS = 64
SAMPLES = 12_345
NAMES = ("rnnt_stream", "live_tdt")


@pytest.mark.parametrize("name", NAMES)
def test_each_of_64_streams_is_the_same_bit_for_bit_alone_and_among_any_others(
    name: str, built: Callable[[str], FastConformer]
) -> None:
    """Every step is a block of 64 rows: the streams, as many as happen to go on, and rows without a stream."""
    model = built(name)
    audio = [recording(SAMPLES + 601 * number, seed=number) for number in range(STREAMS)]
    for latency in latency_classes(model.config):
        heard: list[dict[int, tuple[torch.Tensor, list[object]]]] = []
        for seed, present in enumerate((range(STREAMS), range(0, STREAMS, 3), [0], [17], [63])):
            rng = random.Random(seed)
            streams = Recorder(model, STREAMS, sizes=(STREAMS,))
            order = rng.sample(list(present), len(present))
            plays = play(streams, latency, [audio[number] for number in order], sometimes(rng))
            heard.append(
                {
                    number: (streams.taken(one.stream), list(one.tokens))
                    for number, one in zip(order, plays, strict=True)
                }
            )
        everyone = heard[0]
        for others in heard[1:]:
            for number, (frames, tokens) in others.items():
                assert torch.equal(frames, everyone[number][0])
                assert tokens == everyone[number][1]


def sometimes(rng: random.Random) -> Callable[[Sequence[Play]], Sequence[Play]]:
    """Return a choice of those that go on in any order, one in four left out."""
    return lambda plays: [one for one in rng.sample(plays, len(plays)) if rng.random() < 0.75]


def test_a_slot_that_holds_what_is_not_a_number_harms_nobody_who_takes_it(
    built: Callable[[str], FastConformer],
) -> None:
    model, audio = built("rnnt_stream"), recording(60_000)
    for latency in latency_classes(model.config):
        streams = Recorder(model, 2)
        (clean,) = play(streams, latency, [audio])
        frames = streams.taken(clean.stream)
        streams.close(clean.stream)
        poison = np.full(latency.first_samples, np.nan, np.float32)
        victim = streams.open(latency)
        streams.step([Fed(victim, poison)])
        streams.close(victim)
        (after,) = play(streams, latency, [audio])
        assert after.stream.slot == victim.slot
        assert torch.equal(streams.taken(after.stream), frames)
        assert after.tokens == clean.tokens


def test_a_stream_that_hears_what_is_not_a_number_harms_no_neighbour(built: Callable[[str], FastConformer]) -> None:
    model, audio = built("rnnt_stream"), recording(60_000)
    for latency in latency_classes(model.config):
        streams = Recorder(model, 2, sizes=(2,))
        (alone,) = play(streams, latency, [audio])
        frames = streams.taken(alone.stream)
        streams.close(alone.stream)
        one, _ = play(streams, latency, [audio, np.full(50_000, np.nan, np.float32)])
        assert torch.equal(streams.taken(one.stream), frames)


def test_the_memory_of_a_slot_is_what_is_told_beforehand(built: Callable[[str], FastConformer]) -> None:
    for name in NAMES:
        model = built(name)
        for latency in latency_classes(model.config):
            streams = LiveStreams(model, 3)
            streams.open(latency)
            told = slot_values(model.config, latency)
            assert streams.bytes_per_slot(latency) == 4 * told.total


def test_memory_that_nobody_in_a_class_needs_any_more_is_given_back_when_another_is_opened(
    built: Callable[[str], FastConformer],
) -> None:
    streams = LiveStreams(built("rnnt_stream"), 40)
    first, second, *_ = streams.classes
    gone = [streams.open(first) for _ in range(39)]
    held = weakref.ref(streams._open[first].state)
    for stream in gone[1:]:
        streams.close(stream)
    streams.open(second)
    assert held() is not None
    streams.close(gone[0])
    streams.open(second)
    assert held() is None


def test_no_more_streams_are_opened_than_there_are_places(built: Callable[[str], FastConformer]) -> None:
    streams = LiveStreams(built("rnnt_stream"), 5)
    first, *_ = [streams.open(streams.classes[number % 4]) for number in range(5)]
    with pytest.raises(EngineError, match="all places for live streams are taken"):
        streams.open(streams.classes[0])
    streams.close(first)
    streams.open(streams.classes[3])


@pytest.mark.parametrize(("extra", "is_last"), [(-1, False), (1, False), (1, True)])
def test_a_chunk_of_another_size_is_refused_and_nothing_is_lost(
    extra: int, is_last: bool, built: Callable[[str], FastConformer]
) -> None:
    streams = LiveStreams(built("rnnt_stream"), 2)
    stream, other = streams.open(streams.classes[1]), streams.open(streams.classes[1])
    wrong = Fed(stream, np.zeros(stream.wanted + extra, np.float32), is_last)
    with pytest.raises(EngineError, match=f"give .*{stream.wanted}"):
        streams.step([Fed(other, np.zeros(other.wanted, np.float32)), wrong])
    assert other.chunks == 0


def test_blocks_are_full_or_nearly() -> None:
    for count in range(200):
        cut = list(blocks(range(count), BLOCKS))
        assert [item for items, _ in cut for item in items] == list(range(count))
        for items, size in cut:
            assert size in BLOCKS
            assert len(items) >= 0.75 * size


REFUSED = {
    "rnnt": "per_feature",
    "hybrid_stream": "causal_downsampling",
    "ctc": "per_feature",
}


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_model_that_cannot_be_exact_live_is_refused_by_the_option(name: str, reason: str) -> None:
    assert name in MODELS
    with pytest.raises(UnsupportedError, match=reason):
        latency_classes(parse_config(config(name)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"conv_context_size": [6, 2]}, "conv_context_size"),
        ({"att_context_style": "regular", "att_context_size": [70, 1]}, "att_context_style"),
        ({"att_context_size": [-1, 3]}, "att_context_size"),
        ({"self_attention_model": "rel_pos_local_attn", "att_context_size": [9, 9]}, "att_context_style"),
    ],
)
def test_an_encoder_that_cannot_be_exact_live_is_refused_by_the_option(changes: dict[str, object], reason: str) -> None:
    values = config("rnnt_stream")
    values["encoder"] |= changes
    with pytest.raises(UnsupportedError, match=reason):
        latency_classes(parse_config(values))
