"""The engine's models on a device: what is refused without a card, and, on the CPU's own device, the whole way."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.engines.contract import Feed, LoadOptions, StreamOptions, TranscribeOptions
from auricle.engines.fastconformer import ENGINE
from auricle.engines.fastconformer_live import FastConformerStreamingRecognizer
from auricle.errors import UnsupportedError
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auricle.audio import Audio

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")


@pytest.fixture(scope="module")
def digits() -> Audio:
    from auricle.audio import load
    from auricle.corpus import open_corpus

    return load(open_corpus("demo-digits").utterances[0].audio, 16_000)


@pytest.fixture
def on_device() -> Iterator[FastConformerStreamingRecognizer]:
    """The shipped model as it is served on CUDA, with the CPU in place of the card."""
    import torch

    from auricle.engines.fastconformer_device import serve_on_device
    from auricle.fastconformer.device.whole import DeviceFastConformer
    from auricle.fastconformer.loading import read
    from auricle.models.store import shipped_path

    info = ENGINE.load(LoadOptions(), Tracer()).info
    model = DeviceFastConformer(read(shipped_path("auricle-digits-en.nemo")), torch.device("cpu"))
    made = serve_on_device(model, replace(info, streaming=None), Tracer())
    assert isinstance(made, FastConformerStreamingRecognizer)
    yield made
    made.unload()


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_without_a_card_a_cuda_device_is_refused(device: str) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(UnsupportedError, match="there is no CUDA device"):
        ENGINE.load(LoadOptions(device=device), Tracer())


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "cuda:1", ""])
def test_a_device_that_there_is_not_is_refused(device: str) -> None:
    with pytest.raises(UnsupportedError, match="use cpu or cuda"):
        ENGINE.load(LoadOptions(device=device), Tracer())


def test_what_cuda_can_do_is_told_with_the_reason_where_it_cannot() -> None:
    told = {one.precision: one for one in ENGINE.support() if one.device == "cuda"}
    assert set(told) == {"fp32", "bf16", "fp16", "int8"}
    assert not told["int8"].usable
    assert all(one.usable or one.reason for one in told.values())


def test_files_and_streams_give_the_texts_of_the_cpu(
    on_device: FastConformerStreamingRecognizer, digits: Audio
) -> None:
    there = ENGINE.load(LoadOptions(), Tracer())
    assert isinstance(there, FastConformerStreamingRecognizer)
    options = TranscribeOptions(word_times=True)
    assert on_device.transcribe([digits], options)[0].text == there.transcribe([digits], options)[0].text
    assert there.info.streaming is not None
    for chunk_ms in there.info.streaming.chunk_ms:
        texts = []
        for recognizer in (on_device, there):
            stream = recognizer.open(StreamOptions(chunk_ms, word_times=True))
            chunk, place, said = chunk_ms * 16, -there.info.streaming.first_short, ""
            while place < len(digits.samples):
                samples = digits.samples[max(place, 0) : place + chunk]
                place += chunk
                (heard,) = recognizer.step([Feed(stream, samples, place >= len(digits.samples))])
                said = heard.text
            recognizer.close(stream)
            texts.append(said)
        assert texts[0] == texts[1] != ""
    there.unload()


def test_key_phrases_are_not_offered_on_a_device(on_device: FastConformerStreamingRecognizer) -> None:
    assert "keywords" not in on_device.info.features
    with pytest.raises(UnsupportedError):
        on_device.open(StreamOptions(keywords=("one",)))


def test_steps_that_are_not_graphs_are_told_of(on_device: FastConformerStreamingRecognizer) -> None:
    assert any("operation by operation" in note for note in on_device.info.notes)
    assert np.isfinite(on_device.info.streaming.slots if on_device.info.streaming else np.nan)


def test_files_give_way_to_live_steps_between_pieces_of_the_same_text(
    on_device: FastConformerStreamingRecognizer, digits: Audio
) -> None:
    (alone,) = on_device.transcribe([digits], TranscribeOptions())
    turns = on_device.turns
    assert turns is not None
    before, turns.live = turns.pieces, 1
    (beside,) = on_device.transcribe([digits], TranscribeOptions())
    assert turns.pieces - before > 4 * 4
    assert beside == alone


def test_the_settings_of_torch_that_hold_are_told(on_device: FastConformerStreamingRecognizer) -> None:
    (told,) = [note for note in on_device.info.notes if note.startswith("settings of torch")]
    assert "inference_mode on" in told
    assert "cudnn_benchmark" in told
    assert "expandable_segments" in told
