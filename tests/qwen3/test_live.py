"""Live streams: what is encoded once, what stays, and what a second of audio costs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from auricle.qwen3.live import MOST_SPAN_S, Fed, Heard, Live, LiveStreams, slot_bytes
from auricle.qwen3.model import SPARE_TOKENS, TOKENS_PER_S
from auricle.qwen3.stages import Meter
from auricle.trace import Tracer
from tests.qwen3.checkpoints import RATE_HZ, recording

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auricle.qwen3.model import Qwen3Asr


@pytest.fixture(scope="module")
def streams(model: Qwen3Asr) -> LiveStreams:
    return LiveStreams(model)


def played(
    streams: LiveStreams,
    audio: list[NDArray[np.float32]],
    meter: Meter,
    chunk_s: int = 2,
    live: list[Live] | None = None,
) -> list[list[Heard]]:
    """Feed recordings to streams in step and return what each heard at every step."""
    chunk = chunk_s * RATE_HZ
    live = live or [streams.open("", None) for _ in audio]
    heard: list[list[Heard]] = [[] for _ in audio]
    for start in range(0, max(map(len, audio)) + 1, chunk):
        places = [place for place, one in enumerate(audio) if start <= len(one)]
        fed = [Fed(live[at], audio[at][start : start + chunk], start + chunk > len(audio[at])) for at in places]
        for place, one in zip(places, streams.step(fed, meter), strict=True):
            heard[place].append(one)
    return heard


def test_a_stream_of_one_window_hears_what_a_file_does(model: Qwen3Asr, streams: LiveStreams, meter: Meter) -> None:
    for samples in (9_000, 40_000, 128_000 - 160):
        heard = recording(samples)
        ((last,),) = played(streams, [heard], meter, chunk_s=8)
        assert last.text == model.transcribe([heard], meter)[0].text


def test_chunks_are_encoded_as_windows_of_their_own(model: Qwen3Asr) -> None:
    audio = recording(RATE_HZ * 4)
    with torch.inference_mode():
        stem = model.encoder.stem([model.features(audio)])
        whole = model.encoder.encode(stem, 2)[0]
        parts = [model.encoder.encode([part], 8)[0] for part in torch.split(stem[0], 26)]
    assert torch.allclose(whole, torch.cat(parts), atol=1e-5)


def test_audio_is_encoded_once(model: Qwen3Asr, streams: LiveStreams, meter: Meter) -> None:
    played(streams, [recording(RATE_HZ * 7)], meter)
    assert meter.totals["mel"].units == meter.totals["stem"].units == 700
    assert meter.totals["encoder"].units == 7 * model.config.encoder.chunk_tokens


def test_keys_of_audio_are_those_of_reading_all_of_it_at_once(
    model: Qwen3Asr, streams: LiveStreams, meter: Meter
) -> None:
    live = streams.open("", None)
    audio = recording(RATE_HZ * 6)
    kept = []
    for start in range(0, len(audio), 2 * RATE_HZ):
        streams.step([Fed(live, audio[start : start + 2 * RATE_HZ], is_last=False)], meter)
        kept.append(live.filled)
    head = len(model.prompts.head())
    assert kept == [head + 26 * steps for steps in (1, 2, 3)]
    first = live.keys[:, :, : kept[0]].clone()
    streams.step([Fed(live, audio[: 2 * RATE_HZ], is_last=False)], meter)
    assert torch.equal(live.keys[:, :, : kept[0]], first)


def test_words_that_are_stable_stay(streams: LiveStreams, meter: Meter) -> None:
    (heard,) = played(streams, [recording(RATE_HZ * 14, seed=3)], meter)
    for earlier, later in itertools.pairwise(heard):
        stable = earlier.text.split()[: earlier.stable_words]
        assert later.text.split()[: len(stable)] == stable
        assert later.stable_words >= earlier.stable_words
    assert heard[-1].stable_words == len(heard[-1].text.split())


def test_a_step_costs_the_same_however_long_a_stream_is(model: Qwen3Asr, streams: LiveStreams) -> None:
    live = [streams.open("", None)]
    audio = recording(RATE_HZ * 2)
    steps, tokens = MOST_SPAN_S // 2, []
    for _ in range(2 * steps):
        meter = Meter(Tracer(), model.device)
        streams.step([Fed(live[0], audio, is_last=False)], meter)
        tokens.append(meter.totals["prefill"].units)
        assert live[0].filled <= slot_bytes(model) // model.kv_bytes
        assert meter.totals["encoder"].units == 2 * model.config.encoder.chunk_tokens
    assert tokens[steps] < tokens[0] + model.config.encoder.chunk_tokens, "the second span begins as the first did"
    assert max(tokens) <= tokens[0] + steps * (SPARE_TOKENS + 2 * TOKENS_PER_S)


def test_neighbours_change_nothing_wherever_they_stand(streams: LiveStreams, meter: Meter) -> None:
    audio = [recording(samples) for samples in (70_000, 33_000, 3_000, 64_000)]
    together = played(streams, audio, meter)
    assert together == [played(streams, [one], meter)[0] for one in audio]
    assert played(streams, audio[::-1], meter)[::-1] == together


def test_an_utterance_starts_clean(streams: LiveStreams, meter: Meter) -> None:
    audio = recording(50_000)
    live = [streams.open("", None)]
    first = played(streams, [audio], meter, live=live)
    assert played(streams, [audio], meter, live=live) == first
    assert streams.step([Fed(live[0], np.zeros(0, np.float32), is_last=True)], meter) == [Heard("", 0)]


def test_a_span_ends_in_silence_where_there_is_one(streams: LiveStreams, meter: Meter) -> None:
    live = streams.open("", None)
    loud, quiet = recording(2 * RATE_HZ), recording(2 * RATE_HZ) * 1e-3
    for chunk in [loud] * 10:
        streams.step([Fed(live, chunk, is_last=False)], meter)
    assert live.chunks == 10
    streams.step([Fed(live, quiet, is_last=False)], meter)
    assert (live.chunks, live.filled) == (0, 0)
    assert live.before
