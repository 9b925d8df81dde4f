"""Long recordings by local attention: as NeMo has it, in bounded memory, and refused where it cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import auricle.audio
from auricle import cli
from auricle.audio import Audio
from auricle.engines import fastconformer, null, pocketsphinx
from auricle.engines.contract import LoadOptions, TranscribeOptions
from auricle.errors import UnsupportedError
from auricle.fastconformer.config import AttentionContext
from auricle.fastconformer.loading import load
from auricle.fastconformer.measure import peak_bytes
from auricle.fastconformer.memory import RECORDING_BYTES, batch_bytes, longest_s
from auricle.fastconformer.reading import parse_config
from auricle.fastconformer.subsampling import PreEncoder
from auricle.serve.settings import Settings
from auricle.trace import Tracer
from tests.fastconformer.checkpoints import RATE_HZ, build, config, recording
from tests.fastconformer.golden import LONG, Case, expected, sampled

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.engines.contract import Engine
    from auricle.fastconformer.config import ModelConfig

MINUTES = 40
FRAMES_PER_MINUTE = 750


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("rnnt", tmp_path_factory.mktemp("local"))


def test_a_model_loaded_with_local_attention_is_what_nemo_changes_it_to(path: Path) -> None:
    model = load(path, local_attention=128)
    assert model.contexts == (AttentionContext(128, 128),)
    for seed, (samples, wanted) in enumerate(
        zip(LONG, expected(Case("rnnt", window=(128, 128), samples=LONG)), strict=True)
    ):
        frames, lengths = model.encode([recording(samples, seed)])
        np.testing.assert_allclose(sampled(frames[0].numpy()), wanted.encoded, rtol=0, atol=1e-5)
        tokens = model.decode(frames, lengths)[0]
        assert [token.index for token in tokens[: wanted.sure]] == wanted.tokens[: wanted.sure]


def real(window: int | None) -> ModelConfig:
    """The sizes of the 0.6B model that was trained with full attention."""
    parsed = parse_config(config("tdt"))
    encoder = replace(parsed.encoder, width=1024, heads=8, feed_forward=4096, layers=24, pre_encode_channels=256)
    parsed = replace(parsed, encoder=encoder)
    return parsed if window is None else parsed.attending(window)


def test_memory_grows_with_the_recording_and_the_window_and_not_with_their_square() -> None:
    frames = MINUTES * FRAMES_PER_MINUTE
    assert batch_bytes(real(128), 1, frames) < RECORDING_BYTES
    assert batch_bytes(real(128), 1, 2 * frames) < 2.05 * batch_bytes(real(128), 1, frames)
    assert longest_s(real(128)) > longest_s(real(None)) > 30 * 60


def test_the_bound_of_a_long_recording_holds() -> None:
    small = parse_config(config("rnnt"))
    seconds = 600
    for one in (small, small.attending(128)):
        measured = peak_bytes(one, [seconds * RATE_HZ])
        assert measured <= batch_bytes(one, 1, seconds * RATE_HZ // 1280 + 1) <= 1.5 * measured


@pytest.mark.parametrize("name", ["rnnt", "rnnt_stream"])
@pytest.mark.parametrize("lengths", [[5000], [5000, 4090, 1], [2057, 2056, 2049, 2048]], ids=str)
def test_the_spans_of_the_pre_encoder_leave_no_seam(name: str, lengths: list[int]) -> None:
    parsed = parse_config(config(name)).encoder
    torch.manual_seed(0)
    encoder = PreEncoder(parsed).eval()
    features = torch.randn(len(lengths), max(lengths), parsed.mels)
    counts = torch.tensor(lengths)
    with torch.inference_mode():
        frames, found = encoder(features, counts)
        for row, length in enumerate(lengths):
            # A part that is whole by itself: it begins and ends eight feature frames or more inside.
            for start in range(0, max(1, length - 1600), 800):
                part = features[row : row + 1, start : min(start + 1600, length)]
                alone, (size,) = encoder(part, torch.tensor([part.shape[1]]))
                first, last = (0 if start == 0 else 3), (size if start + 1600 >= length else size - 3)
                place = start // 8
                torch.testing.assert_close(
                    alone[0, first:last], frames[row, place + first : place + last], rtol=0, atol=1e-5
                )
    assert found.tolist() == [encoder.frames(length) for length in lengths]


@pytest.mark.parametrize("name", ["rnnt_stream", "live_hybrid"])
def test_a_model_trained_with_chunks_keeps_to_them(name: str) -> None:
    with pytest.raises(UnsupportedError, match="128 frames"):
        parse_config(config(name)).attending(128)


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="0 frames"):
        parse_config(config("rnnt")).attending(0)


@pytest.mark.parametrize("engine", [null.ENGINE, pocketsphinx.ENGINE], ids=lambda engine: engine.name)
def test_an_engine_without_local_attention_refuses_it(engine: Engine) -> None:
    with pytest.raises(UnsupportedError, match="no local attention: 128"):
        engine.load(LoadOptions(local_attention=128), Tracer())


def test_the_engine_says_how_it_attends(path: Path) -> None:
    recognizer = fastconformer.ENGINE.load(LoadOptions(model=path, threads=1, local_attention=11), Tracer())
    assert any("local attention to 11 frames" in note for note in recognizer.info.notes)
    audio = Audio(recording(112_345), RATE_HZ)
    (found,) = recognizer.transcribe([audio], TranscribeOptions())
    recognizer.unload()
    (wanted,) = load(path).transcribe([audio.samples], AttentionContext(11, 11))
    assert found.text == wanted.text


def test_the_server_and_the_benchmarks_ask_for_it_by_name() -> None:
    request = Settings.model_validate({"local_attention": 128}).request
    assert request.local_attention == 128
    assert request.label.endswith("local 128")


def test_a_long_file_is_recognised_in_one_piece(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = recording(70 * RATE_HZ)
    auricle.audio.save(Audio(samples, RATE_HZ), tmp_path / "long.wav")
    heard = auricle.audio.load(tmp_path / "long.wav").samples
    model = ["--engine", "fastconformer", "--model", str(path), "--threads", "1", "--no-vad"]
    texts = []
    for options in ([], ["--local-attention", "11"], ["--local-attention", "11", "--piece", "30"]):
        assert cli.run(["transcribe", str(tmp_path / "long.wav"), *model, *options]) == 0
        texts.append(capsys.readouterr().out.strip())
    assert texts[1] == load(path, local_attention=11).transcribe([heard])[0].text
    assert len(set(texts)) == 3
