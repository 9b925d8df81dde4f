"""The engine's models on a device: what is refused without a card, and, on the CPU's own device, the whole way."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.engines.contract import Feed, LoadOptions, StreamOptions, TranscribeOptions
from auricle.engines.fastconformer import ENGINE
from auricle.engines.fastconformer_live import FastConformerStreamingRecognizer
from auricle.errors import UnsupportedError
from auricle.models.store import shipped_path
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auricle.audio import Audio
    from auricle.engines.contract import Precision

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")


MEMORISED = Path(__file__).parents[1] / "data" / "memorised"


@pytest.fixture(scope="module")
def digits() -> Audio:
    from auricle.audio import load
    from auricle.corpus import open_corpus

    return load(open_corpus("demo-digits").utterances[0].audio, 16_000)


@contextmanager
def served(
    path: Path | None = None, precision: Precision = "fp32", beam: int = 1
) -> Iterator[FastConformerStreamingRecognizer]:
    """The shipped model, or another, as it is served on CUDA, with the CPU in place of the card."""
    import torch

    from auricle.engines.fastconformer_device import serve_on_device
    from auricle.engines.torch_threads import THREADS
    from auricle.fastconformer.device.whole import DeviceFastConformer
    from auricle.fastconformer.loading import read

    there = ENGINE.load(LoadOptions(model=path), Tracer())
    info = replace(there.info, streaming=None)
    there.unload()
    THREADS.hold(None)
    model = DeviceFastConformer(
        read(path or shipped_path("auricle-digits-en.nemo")), torch.device("cpu"), precision, beam
    )
    made = serve_on_device(model, info, Tracer())
    assert isinstance(made, FastConformerStreamingRecognizer)
    yield made
    made.unload()


@pytest.fixture
def on_device() -> Iterator[FastConformerStreamingRecognizer]:
    with served() as made:
        yield made


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
    assert len({one.usable for one in told.values()}) == 1
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


def test_key_phrases_are_offered_on_a_device_and_make_up_no_words(
    on_device: FastConformerStreamingRecognizer, digits: Audio
) -> None:
    assert {"keywords", "language"} <= on_device.info.features
    plain, asked = (
        on_device.transcribe([digits], TranscribeOptions(keywords=words))[0].text for words in ((), ("zero zero",))
    )
    assert plain == asked != ""
    on_device.close(on_device.open(StreamOptions(keywords=("one two",))))


def test_a_beam_is_served_and_counted_in_what_a_stream_takes(
    on_device: FastConformerStreamingRecognizer, digits: Audio
) -> None:
    with served(beam=3) as searching:
        assert searching.transcribe([digits], TranscribeOptions()) == on_device.transcribe(
            [digits], TranscribeOptions()
        )
        more, fewer = searching.info.streaming, on_device.info.streaming
        assert more is not None
        assert fewer is not None
        assert more.bytes_per_slot is not None
        assert fewer.bytes_per_slot is not None
        assert more.bytes_per_slot > fewer.bytes_per_slot


def test_int8_holds_weights_of_eight_bits_and_hears_the_digits(
    on_device: FastConformerStreamingRecognizer, digits: Audio
) -> None:
    from auricle.engines.precisions import precision_of

    with served(precision="int8") as small:
        weights = small._loaded().weights
        assert precision_of(weights).startswith("int8")
        assert sum(one.bytes for one in weights) < 0.5 * sum(one.bytes for one in on_device._loaded().weights)
        texts = [one.transcribe([digits], TranscribeOptions())[0].text for one in (small, on_device)]
        assert texts[0] == texts[1] != ""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "copies"), [("digits", None), ("memorised", 0)])
def test_the_gate_judges_int8_as_it_is_computed_on_a_device(name: str, copies: int | None) -> None:
    from auricle.bench.gate.checks import judge, overall
    from auricle.bench.gate.gate import MARGIN_POINTS, make_samples
    from auricle.bench.gate.hearing import hear
    from auricle.corpus import open_corpus

    path = None if name == "digits" else MEMORISED / "auricle-memorised.nemo"
    samples = make_samples(open_corpus("demo-digits" if path is None else str(MEMORISED / "manifest.jsonl")), copies)
    with served(path) as there:
        expected = hear(there, samples, 8, print)
    with served(path, "int8") as here:
        found = hear(here, samples, 8, print)
    checks = judge(expected, found, samples, MARGIN_POINTS)
    outcome, _ = overall(checks)
    print(name, outcome, [one.told for one in checks])  # noqa: T201  shown with -s
    assert outcome == ("passed" if name == "digits" else "not enough evidence")


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
