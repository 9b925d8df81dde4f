"""What a loaded model takes, refuses and gives."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import auricle.audio
from auricle.errors import UnsupportedError
from auricle.fastconformer.config import AttentionContext
from auricle.fastconformer.loading import load
from tests.fastconformer.checkpoints import MODELS, recording
from tools.training.mels import mel_filters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.fastconformer.model import FastConformer, Head

FITTED = "and so my fellow mericans ask not what yo"


@pytest.mark.parametrize("name", MODELS)
def test_audio_too_short_for_a_frame_says_nothing(name: str, built: Callable[[str], FastConformer]) -> None:
    model = built(name)
    silent = [np.zeros(samples, np.float32) for samples in (0, 1, 159)]
    for made in (*model.transcribe(silent), *model.transcribe([*silent, recording(16_000)])[:3]):
        assert (made.text, made.segments) == ("", ())
    assert model.encode([*silent, recording(16_000)])[1].tolist()[:3] == [0, 0, 0]


def test_no_recordings_give_no_transcripts(built: Callable[[str], FastConformer]) -> None:
    assert built("rnnt").transcribe([]) == []


def test_what_is_asked_leaves_the_audio_and_the_model_as_they_were(built: Callable[[str], FastConformer]) -> None:
    model = built("tdt")
    audio = recording(40_000)
    audio.setflags(write=False)
    before = model.transcribe([audio])
    model.transcribe([audio], AttentionContext(16, 16))
    assert model.transcribe([audio]) == before


def test_threads_may_share_a_model(built: Callable[[str], FastConformer]) -> None:
    model = built("rnnt")
    audio = [recording(16_000 + 3_000 * index, index) for index in range(6)]
    wanted = [model.transcribe([one])[0] for one in audio]
    found: dict[int, object] = {}
    threads = [
        threading.Thread(target=lambda index=index: found.update({index: model.transcribe([audio[index]])[0]}))
        for index in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(6)] == wanted


@pytest.mark.parametrize(("name", "head"), [("rnnt", "ctc"), ("ctc", "transducer")])
def test_a_decoder_that_the_model_lacks_is_refused(
    name: str, head: Head, built: Callable[[str], FastConformer]
) -> None:
    with pytest.raises(UnsupportedError, match=f"no such decoder: {head}"):
        built(name).transcribe([recording(16_000)], head=head)


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("rnnt_stream", AttentionContext(70, 2, chunked=True)),
        ("rnnt_stream", AttentionContext(128, 128)),
        ("rnnt", AttentionContext(70, 13, chunked=True)),
    ],
)
def test_an_attention_context_that_the_model_does_not_know_is_refused(
    name: str, context: AttentionContext, built: Callable[[str], FastConformer]
) -> None:
    with pytest.raises(UnsupportedError, match="not trained for this attention context"):
        built(name).encode([recording(16_000)], context)


def test_a_window_wider_than_the_recording_changes_nothing(built: Callable[[str], FastConformer]) -> None:
    model = built("rnnt")
    audio = [recording(100_000)]
    wide, _ = model.encode(audio, AttentionContext(100, 100))
    torch.testing.assert_close(wide, model.encode(audio)[0], rtol=0, atol=1e-6)


def test_a_frame_beyond_the_lookahead_changes_nothing(built: Callable[[str], FastConformer]) -> None:
    model = built("rnnt_stream")
    context = model.contexts[2]
    audio = recording(64_000)
    other = audio.copy()
    other[40_000:] = 0.0
    # A sample is heard by the frame whose window, 200 samples past its centre, holds it.
    unchanged = (40_000 - 200) // 1280 // 2 * 2
    frames, changed = model.encode([audio], context)[0], model.encode([other], context)[0]
    torch.testing.assert_close(frames[:, :unchanged], changed[:, :unchanged], rtol=0, atol=1e-6)
    assert not torch.allclose(frames[:, unchanged + 4 :], changed[:, unchanged + 4 :], rtol=0, atol=1e-3)


def test_the_package_is_imported_without_torch() -> None:
    code = "import sys, auricle.fastconformer.loading, auricle.fastconformer.archive; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_filters_of_the_fixtures_are_those_of_nemo(data: Path) -> None:
    for name, mels in (("stream_rnnt", 80), ("hybrid_tdt_ctc", 128)):
        model = load(data / "nemo" / f"{name}.nemo")
        filters = model.network.preprocessor.featurizer.fb[0].numpy()
        np.testing.assert_allclose(filters, mel_filters(16_000, 512, mels), rtol=0, atol=1e-7)


def test_a_checkpoint_fitted_on_one_recording_knows_it_by_heart_at_every_lookahead(data: Path) -> None:
    model = load(data / "nemo" / "stream_rnnt_overfit_jfk.nemo")
    audio = auricle.audio.load(data / "real" / "audio" / "jfk.flac").samples
    assert [(context.left, context.right) for context in model.contexts] == [(70, 13), (70, 6), (70, 1), (70, 0)]
    for context in model.contexts:
        assert model.transcribe([audio], context)[0].text == FITTED
