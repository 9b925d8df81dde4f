"""Beam search on a device: what the CPU's beam finds, live and in files, with phrases and without; greedy at one."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from auricle.errors import UnsupportedError
from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.device.beam import BeamSearch
from auricle.fastconformer.device.files import FileDecoder
from auricle.fastconformer.device.step import Runs
from auricle.fastconformer.device.streams import DeviceStreams
from auricle.fastconformer.model import FastConformer
from auricle.fastconformer.network import filled
from auricle.fastconformer.streaming.streams import LiveStreams
from auricle.fastconformer.transducer import Predictor
from tests.fastconformer.checkpoints import build, recording
from tests.fastconformer.device.devices import CPU, live, on_device, same_class, told, whole
from tests.fastconformer.homophones import homophone, phrase, planted, spoken, texts, turned
from tests.fastconformer.live import Play, at_random, play

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.fastconformer.device.model import DeviceModel

BEAM = 3
LENGTHS = (160, 400, 1280, 9_999, 20_000, 30_123)
TEXTS = texts()
AUDIO = [spoken(one) for one in TEXTS]


@cache
def model() -> DeviceModel:
    return live(planted(), beam=BEAM)


@pytest.mark.parametrize("name", ["rnnt", "tdt", "tdt_slow", "hybrid_tdt"])
def test_a_beam_of_one_is_greedy_decoding(name: str, tmp_path: Path) -> None:
    archive, greedy = read_archive(build(name, tmp_path)), whole(name, tmp_path)
    network, config = filled(archive.config, archive.weights), archive.config
    assert isinstance(network.decoder, Predictor)
    assert network.joint is not None
    assert config.transducer is not None
    parts = config.transducer, network.decoder, network.joint, config.vocabulary
    runs = Runs()
    frames = greedy.encode([recording(samples, seed) for seed, samples in enumerate((40_000, 56_000, 23_000))])
    with torch.inference_mode():
        found = FileDecoder(BeamSearch(*parts, 1, CPU), CPU, runs).decode(*frames)
    assert [told(one) for one in found] == [told(one) for one in greedy.decode(*frames)]
    assert sum(map(len, found)) > 20
    assert (runs.graphed, runs.eager > 0) == (0, True)


@pytest.mark.parametrize("phrases", [(), ("da", "ki la", "gu so")], ids=["plain", "phrases"])
@pytest.mark.parametrize("name", ["rnnt", "tdt", "tdt_slow", "hybrid_tdt"])
def test_a_batch_gives_the_tokens_of_the_cpus_beam(name: str, phrases: tuple[str, ...], tmp_path: Path) -> None:
    here = whole(name, tmp_path, beam=BEAM)
    there = FastConformer(read_archive(build(name, tmp_path)), beam=BEAM)
    batch = [recording(samples, seed=samples) for samples in LENGTHS]
    found, wanted = (one.decode(*one.encode(batch), phrases=one.spell(phrases)) for one in (here, there))
    assert [told(one) for one in found] == [told(one) for one in wanted]
    assert (here.runs.graphed, here.runs.eager > 0) == (0, True)
    for one, other in zip(found, wanted, strict=True):
        for token, same in zip(one, other, strict=True):
            assert token.probability == pytest.approx(same.probability, abs=1e-4)


@pytest.mark.parametrize("name", ["rnnt_stream", "live_tdt", "live_hybrid"])
def test_every_stream_gives_the_tokens_of_the_cpus_beam_in_every_class(name: str, tmp_path: Path) -> None:
    """Whatever the length, in any company, with phrases or without, and not a token that is settled changes."""
    audio = [recording(samples, seed) for seed, samples in enumerate(LENGTHS)]
    asked = [("da", "ki la") if place % 2 else () for place in range(len(audio))]
    here = on_device(name, tmp_path, beam=BEAM)
    wanted = LiveStreams(FastConformer(read_archive(build(name, tmp_path)), beam=BEAM), 64)
    for latency in here.classes:
        streams = DeviceStreams(here, len(audio), (4,))
        found = play(streams, latency, audio, at_random(random.Random(name)), asked)
        there = play(wanted, same_class(latency, wanted.classes), audio, at_random(random.Random(5)), asked)
        assert [told(one.tokens) for one in found] == [told(one.tokens) for one in there]
        assert (streams.runs.graphed, streams.runs.eager > 0) == (0, True)
        for one in there:
            wanted.close(one.stream)


@pytest.mark.parametrize("chunk_ms", [80, 560])
def test_the_stream_that_asked_hears_the_word_and_the_others_are_the_same_bit_for_bit(chunk_ms: int) -> None:
    streams = DeviceStreams(model(), 16, (8,))
    latency = next(one for one in streams.classes if one.chunk_ms == chunk_ms)
    before = play(streams, latency, AUDIO)
    for one in before:
        streams.close(one.stream)
    after = play(streams, latency, AUDIO, at_random(random.Random(0)), [[phrase(TEXTS[0])], *[[]] * 5])
    assert [homophone().tokenizer.text(one.tokens) for one in after] == [turned(TEXTS[0]), *TEXTS[1:]]
    assert [one.tokens for one in after[1:]] == [one.tokens for one in before[1:]]


def test_a_stream_goes_on_with_the_next_utterance_and_what_is_settled_stays() -> None:
    streams = DeviceStreams(model(), 2, (1,))
    one = Play(streams, streams.classes[2], AUDIO[0])
    for wanted, audio in zip(TEXTS[:2], AUDIO, strict=False):
        settled = list(one.tokens[:0])
        one.audio, one.place = audio, 0
        while not one.over:
            one.tokens = streams.step([one.next()])[0]
            assert one.tokens[: len(settled)] == settled
            settled = one.tokens[: one.stream.settled]
        assert homophone().tokenizer.text(one.tokens) == wanted
        assert settled


def test_a_stream_whose_numbers_are_none_ends_and_leaves_the_others_alone() -> None:
    streams = DeviceStreams(model(), 2, (2,))
    latency = streams.classes[2]
    one, poisoned = play(streams, latency, [AUDIO[0], np.full_like(AUDIO[0], np.nan)])
    assert homophone().tokenizer.text(one.tokens) == TEXTS[0]
    slot = poisoned.stream.slot
    streams.close(poisoned.stream)
    (after,) = play(streams, latency, [AUDIO[2]])
    assert after.stream.slot == slot
    assert homophone().tokenizer.text(after.tokens) == TEXTS[2]


def test_a_ctc_model_and_a_beam_of_too_many_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="CTC"):
        whole("ctc", tmp_path, beam=2)
    with pytest.raises(UnsupportedError, match="33"):
        whole("rnnt", tmp_path, beam=33)
