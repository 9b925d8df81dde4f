"""Live streams on a device, in the form that every device runs, against those on the CPU."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from auricle.errors import EngineError, UnsupportedError
from auricle.fastconformer.device.inputs import Inputs, Row
from auricle.fastconformer.device.streams import DeviceStreams
from auricle.fastconformer.streaming.latency import LatencyClass
from auricle.fastconformer.streaming.streams import Fed, LiveStreams
from auricle.trace import Tracer
from tests.fastconformer.checkpoints import recording
from tests.fastconformer.device.devices import on_device, same_class, told
from tests.fastconformer.live import at_random, play

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.fastconformer.device.model import DeviceModel
    from auricle.fastconformer.model import FastConformer

NAMES = ("rnnt_stream", "live_tdt")
AWKWARD = [0, 1, 159, 160, 1279, 1280, 1281, 1480, 1481, 17_840, 17_841, 18_120, 26_801, 60_123]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DeviceModel]:
    return {name: on_device(name, tmp_path_factory.mktemp(name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_recording_gives_the_tokens_of_the_cpus_streams_in_every_class(
    name: str, models: dict[str, DeviceModel], built: Callable[[str], FastConformer]
) -> None:
    """Streams of all lengths side by side stall at random, and take over each other's slots, also of other classes."""
    audio = [recording(samples, seed=samples) for samples in AWKWARD]
    wanted = LiveStreams(built(name), len(audio))
    streams = DeviceStreams(models[name], len(audio), (1, 4, 16))
    for latency in streams.classes:
        here = play(streams, latency, audio, at_random(random.Random(1)))
        there = play(wanted, same_class(latency, wanted.classes), audio, at_random(random.Random(2)))
        for one, other in zip(here, there, strict=True):
            assert told(one.tokens) == told(other.tokens)
            for token, same in zip(one.tokens, other.tokens, strict=True):
                assert token.probability == pytest.approx(same.probability, abs=1e-4)
            streams.close(one.stream)
            wanted.close(other.stream)


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_is_the_same_bit_for_bit_alone_and_among_others(name: str, models: dict[str, DeviceModel]) -> None:
    audio = [recording(9000 + 2011 * number, seed=number) for number in range(8)]
    for latency in models[name].classes:
        together = DeviceStreams(models[name], 8, (8,))
        everyone = play(together, latency, audio, at_random(random.Random(3)))
        for number in (0, 5, 7):
            alone = DeviceStreams(models[name], 3, (8,))
            (one,) = play(alone, latency, [audio[number]])
            assert one.tokens == everyone[number].tokens


def test_what_is_not_a_number_harms_neither_a_neighbour_nor_who_takes_the_slot(models: dict[str, DeviceModel]) -> None:
    model, audio = models["rnnt_stream"], recording(50_000)
    noise = np.full(40_000, np.nan, np.float32)
    for latency in model.classes:
        streams = DeviceStreams(model, 2, (2,))
        (clean,) = play(streams, latency, [audio])
        streams.close(clean.stream)
        one, poisoned = play(streams, latency, [audio, noise])
        assert one.tokens == clean.tokens
        streams.close(one.stream)
        streams.close(poisoned.stream)
        (after,) = play(streams, latency, [audio])
        assert after.stream.slot == poisoned.stream.slot
        assert after.tokens == clean.tokens


def test_an_utterance_knows_nothing_of_the_one_before(models: dict[str, DeviceModel]) -> None:
    audio = recording(50_001, seed=3)
    for latency in models["live_tdt"].classes:
        streams = DeviceStreams(models["live_tdt"], 1, (1,))
        (first,) = play(streams, latency, [audio])
        tokens, first.place = first.tokens, 0
        while not first.over:
            first.tokens = list(streams.step([first.next()])[0])
        assert first.tokens == tokens


def test_steps_that_run_without_a_graph_are_counted_as_such(models: dict[str, DeviceModel]) -> None:
    streams = DeviceStreams(models["rnnt_stream"], 2, (2,))
    stream = streams.open(streams.classes[0])
    streams.step([Fed(stream, np.zeros(stream.wanted, np.float32))])
    assert streams.runs.graphed == 0
    assert streams.runs.eager == 1 + streams.runs.more


def test_the_stages_of_a_step_without_a_graph_are_traced(models: dict[str, DeviceModel]) -> None:
    tracer = Tracer()
    streams = DeviceStreams(models["rnnt_stream"], 1, (1,), tracer=tracer)
    stream = streams.open(streams.classes[0])
    streams.step([Fed(stream, recording(stream.wanted, seed=3))])
    spans = tracer.drain()
    assert [span.stage for span in spans] == ["features", "encoder", "decode", *["decode"] * streams.runs.more]
    assert {span.lane for span in spans} == {"live"}


def test_a_step_that_cannot_be_captured_is_an_error_and_never_runs_without_its_graph(
    models: dict[str, DeviceModel],
) -> None:
    streams = DeviceStreams(models["rnnt_stream"], 2, (2,), graphs=True)
    with pytest.raises(EngineError, match="could not be captured as a CUDA graph"):
        streams.open(streams.classes[0])
    assert streams.runs.eager == 0


def test_no_more_streams_are_opened_than_there_are_slots(models: dict[str, DeviceModel]) -> None:
    streams = DeviceStreams(models["rnnt_stream"], 3, (1, 2))
    first, *_ = [streams.open(streams.classes[number]) for number in range(3)]
    with pytest.raises(EngineError, match="all places for live streams are taken"):
        streams.open(streams.classes[0])
    streams.close(first)
    streams.open(streams.classes[3])


@pytest.mark.parametrize(("extra", "is_last"), [(-1, False), (1, False), (1, True)])
def test_a_chunk_of_another_size_is_refused_and_nothing_is_lost(
    extra: int, is_last: bool, models: dict[str, DeviceModel]
) -> None:
    streams = DeviceStreams(models["rnnt_stream"], 2, (2,))
    stream, other = streams.open(streams.classes[1]), streams.open(streams.classes[1])
    wrong = Fed(stream, np.zeros(stream.wanted + extra, np.float32), is_last)
    with pytest.raises(EngineError, match=f"give .*{stream.wanted}"):
        streams.step([Fed(other, np.zeros(other.wanted, np.float32)), wrong])
    assert other.chunks == 0


def test_a_model_without_a_transducer_is_refused_by_its_family(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="ctc"):
        on_device("ctc", tmp_path)


def test_many_long_chunks_are_copied_whole_by_several_threads() -> None:
    kind = LatencyClass(70, 14, 17_920, 16_840, 1120, 0.0)
    inputs = Inputs(70, kind, 70, torch.device("cpu"))
    audio = np.random.default_rng(1).normal(size=(67, kind.chunk_samples)).astype(np.float32)
    inputs.put([Row(slot, 3, samples) for slot, samples in enumerate(audio)])
    inputs.send()
    assert np.array_equal(inputs.audio.numpy()[:67], audio)
    assert inputs.slots.tolist() == [*range(67), 70, 70, 70]


def test_a_language_that_a_model_is_not_told_is_refused_and_takes_no_place(models: dict[str, DeviceModel]) -> None:
    streams = DeviceStreams(models["rnnt_stream"], 1, (2,))
    with pytest.raises(UnsupportedError, match="told no language"):
        streams.open(streams.classes[0], language="en")
    streams.open(streams.classes[0])
