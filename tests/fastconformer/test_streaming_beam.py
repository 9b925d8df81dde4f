"""Beam search live gives exactly what it gives offline, at every lookahead, in any company, with phrases or without."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.errors import UnsupportedError
from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.config import AttentionContext
from auricle.fastconformer.model import FastConformer
from auricle.fastconformer.streaming.streams import LiveStreams
from tests.fastconformer.checkpoints import build, recording
from tests.fastconformer.homophones import phrase, planted, spoken, texts, turned
from tests.fastconformer.live import Play, at_random, play

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.tokens import Token

BEAM = 3


@cache
def homophone() -> FastConformer:
    return FastConformer(planted(), beam=BEAM)


def offline(model: FastConformer, latency: LatencyClass, audio: NDArray[np.float32], phrases: Sequence[str]) -> str:
    context = AttentionContext(latency.left, latency.frames - 1, chunked=True)
    (tokens,) = model.decode(*model.encode([audio], context), phrases=model.spell(phrases))
    return model.tokenizer.text(tokens)


@pytest.mark.parametrize("chunk_ms", [80, 160, 560, 1120])
def test_live_is_as_offline_at_every_lookahead_with_phrases_of_ones_own(chunk_ms: int) -> None:
    model = homophone()
    streams = LiveStreams(model, 16, sizes=(1, 4, 16))
    latency = next(one for one in streams.classes if one.chunk_ms == chunk_ms)
    wanted = [[phrase(one)] if place % 2 else [] for place, one in enumerate(texts())]
    audio = [spoken(one) for one in texts()]
    plays = play(streams, latency, audio, at_random(random.Random(chunk_ms)), wanted)
    heard = [model.tokenizer.text(one.tokens) for one in plays]
    assert heard == [offline(model, latency, *each) for each in zip(audio, wanted, strict=True)]
    assert heard == [turned(one) if place % 2 else one for place, one in enumerate(texts())]


@pytest.mark.parametrize("name", ["live_tdt", "live_hybrid", "rnnt_stream"])
def test_live_is_as_offline_on_random_weights_whatever_the_length(name: str, tmp_path: Path) -> None:
    model = FastConformer(read_archive(build(name, tmp_path)), beam=BEAM)
    lengths = [160, 400, 1280, 9_999, 20_000, 21_281, 30_000]
    audio = [recording(length, seed) for seed, length in enumerate(lengths)]
    streams = LiveStreams(model, 64, sizes=(8,))
    for latency in streams.classes:
        plays = play(streams, latency, audio, at_random(random.Random(name)))
        context = AttentionContext(latency.left, latency.frames - 1, chunked=True)
        whole = [model.decode(*model.encode([one], context))[0] for one in audio]
        assert [[(token.index, token.frame) for token in one.tokens] for one in plays] == [
            [(token.index, token.frame) for token in one] for one in whole
        ]


def test_phrases_of_one_stream_change_no_other_bit_for_bit_and_slots_forget() -> None:
    streams = LiveStreams(homophone(), 16, sizes=(8,))
    latency = streams.classes[0]
    audio = [spoken(one) for one in texts()]
    before = play(streams, latency, audio)
    for one in before:
        streams.close(one.stream)
    after = play(streams, latency, audio, phrases=[[phrase(texts()[0])]] + [[]] * (len(audio) - 1))
    assert [one.tokens for one in after[1:]] == [one.tokens for one in before[1:]]
    assert after[0].tokens != before[0].tokens
    for one in after:
        streams.close(one.stream)
    again = play(streams, latency, audio)
    assert [one.tokens for one in again] == [one.tokens for one in before]


def test_a_stream_goes_on_with_the_next_utterance_and_what_is_settled_stays() -> None:
    streams = LiveStreams(homophone(), 2, sizes=(1,))
    latency = streams.classes[2]
    one = Play(streams, latency, spoken(texts()[0]))
    for text in texts()[:2]:
        settled: list[Token] = []
        one.audio, one.place = spoken(text), 0
        while not one.over:
            one.tokens = streams.step([one.next()])[0]
            assert one.tokens[: len(settled)] == settled
            settled = one.tokens[: one.stream.settled]
        assert homophone().tokenizer.text(one.tokens) == text
        assert settled


def test_a_ctc_model_and_a_beam_of_none_or_too_many_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="CTC"):
        FastConformer(read_archive(build("ctc", tmp_path)), beam=2)
    for size in (0, 33):
        with pytest.raises(UnsupportedError, match=str(size)):
            FastConformer(planted(), beam=size)


def test_a_stream_whose_numbers_are_none_ends_and_leaves_the_others_alone() -> None:
    streams = LiveStreams(homophone(), 4, sizes=(4,))
    latency = streams.classes[2]
    plays = [Play(streams, latency, spoken(text)) for text in texts()[:2]]
    plays[1].audio = np.full_like(plays[1].audio, np.nan)
    while going := [one for one in plays if not one.over]:
        for one, tokens in zip(going, streams.step([one.next() for one in going]), strict=True):
            one.tokens = list(tokens)
    assert homophone().tokenizer.text(plays[0].tokens) == texts()[0]
    after = Play(streams, latency, spoken(texts()[2]))
    after.stream = plays[1].stream
    while not after.over:
        after.tokens = streams.step([after.next()])[0]
    assert homophone().tokenizer.text(after.tokens) == texts()[2]
