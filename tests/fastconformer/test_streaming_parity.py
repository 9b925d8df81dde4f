"""Live streams against the offline pass with the same masks, which other tests hold to NeMo's."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import torch

from auricle.fastconformer.config import AttentionContext
from tests.fastconformer.checkpoints import recording
from tests.fastconformer.live import Recorder, at_random, play

if TYPE_CHECKING:
    from collections.abc import Callable

    from auricle.fastconformer.model import FastConformer, Head
    from auricle.fastconformer.streaming.latency import LatencyClass

TOLERANCE = 2e-5
LIVE: list[tuple[str, Head | None]] = [
    ("rnnt_stream", None),
    ("live_tdt", None),
    ("live_hybrid", "transducer"),
    ("live_hybrid", "ctc"),
]
# A frame, none, one sample to either side of what makes a feature frame, an encoder frame, a first chunk, a chunk.
AWKWARD = [
    0,
    1,
    159,
    160,
    161,
    199,
    200,
    201,
    1279,
    1280,
    1281,
    1479,
    1480,
    1481,
    17_839,
    17_840,
    17_841,
    18_120,
    26_801,
]
LONG = 97_123


def context(latency: LatencyClass) -> AttentionContext:
    return AttentionContext(latency.left, latency.frames - 1, chunked=True)


@pytest.mark.parametrize(("name", "head"), LIVE)
@pytest.mark.parametrize("samples", [*AWKWARD, LONG])
def test_every_frame_and_token_of_the_offline_pass_is_emitted(
    name: str, head: Head | None, samples: int, built: Callable[[str], FastConformer]
) -> None:
    model, audio = built(name), recording(samples, seed=samples)
    streams = Recorder(model, 1, head)
    for latency in streams.classes:
        (played,) = play(streams, latency, [audio])
        streams.close(played.stream)
        frames, lengths = model.encode([audio], context(latency))
        heard = streams.taken(played.stream)
        assert len(heard) == int(lengths[0])
        if len(heard):
            assert (heard - frames[0, : len(heard)]).abs().max() <= TOLERANCE
        wanted = model.decode(frames, lengths, head)[0]
        assert [(token.index, token.frame, token.frames) for token in played.tokens] == [
            (token.index, token.frame, token.frames) for token in wanted
        ]
        for token, other in zip(played.tokens, wanted, strict=True):
            assert token.probability == pytest.approx(other.probability, abs=1e-4)


@pytest.mark.parametrize(("name", "head"), LIVE)
def test_streams_of_all_classes_side_by_side_give_what_the_offline_pass_gives(
    name: str, head: Head | None, built: Callable[[str], FastConformer]
) -> None:
    """Slots are taken over by others again and again; streams stall at random."""
    model, rng = built(name), random.Random(7)
    streams = Recorder(model, 24, head)
    for turn in range(3):
        plays = {}
        for latency in streams.classes:
            audio = [recording(rng.randrange(40_000), seed=100 * turn + number) for number in range(6)]
            plays[latency] = play(streams, latency, audio, at_random(rng))
        for latency, played in plays.items():
            for one in played:
                frames, lengths = model.encode([one.audio], context(latency))
                heard = streams.taken(one.stream)
                assert len(heard) == int(lengths[0])
                torch.testing.assert_close(heard, frames[0, : len(heard)], rtol=0, atol=TOLERANCE)
                wanted = model.decode(frames, lengths, head)[0]
                assert [token.index for token in one.tokens] == [token.index for token in wanted]
                streams.close(one.stream)


@pytest.mark.parametrize(("name", "head"), LIVE)
def test_an_utterance_knows_nothing_of_the_one_before(
    name: str, head: Head | None, built: Callable[[str], FastConformer]
) -> None:
    streams = Recorder(built(name), 1, head)
    audio = recording(50_001, seed=3)
    for latency in streams.classes:
        (first,) = play(streams, latency, [audio])
        frames, tokens = streams.taken(first.stream), first.tokens
        first.place = 0
        while not first.over:
            first.tokens = list(streams.step([first.next()])[0])
        assert torch.equal(streams.taken(first.stream), frames)
        assert first.tokens == tokens
        streams.close(first.stream)
