"""Whole recordings on a device, in the form that every device runs, against those on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.fastconformer.checkpoints import recording
from tests.fastconformer.device.devices import whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.fastconformer.model import FastConformer, Head

LENGTHS = (97_123, 160, 40_000, 1480, 61_003, 150_000)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("rnnt", None),
        ("tdt", None),
        ("tdt_slow", None),
        ("hybrid_tdt", "transducer"),
        ("hybrid_tdt", "ctc"),
        ("ctc", None),
    ],
)
def test_a_batch_gives_the_tokens_of_the_cpu(
    name: str, head: Head | None, tmp_path: Path, built: Callable[[str], FastConformer]
) -> None:
    """CTC is decoded on the CPU, whatever computed the frames."""
    here, there = whole(name, tmp_path), built(name)
    batch = [recording(samples, seed=samples) for samples in LENGTHS]
    found = here.decode(*here.encode(batch), head)
    for tokens, wanted in zip(found, there.decode(*there.encode(batch), head), strict=True):
        assert [(one.index, one.frame, one.frames) for one in tokens] == [
            (one.index, one.frame, one.frames) for one in wanted
        ]
        for token, other in zip(tokens, wanted, strict=True):
            assert token.probability == pytest.approx(other.probability, abs=1e-4)


def test_a_batch_tells_nothing_of_the_one_before(tmp_path: Path) -> None:
    model = whole("rnnt", tmp_path)
    first = [recording(samples, seed=samples) for samples in (50_000, 30_000)]
    wanted = model.transcribe(first)
    model.transcribe([recording(48_000, seed=9)])
    assert model.transcribe(first) == wanted


def test_recordings_without_a_frame_say_nothing(tmp_path: Path) -> None:
    assert [one.text for one in whole("rnnt", tmp_path).transcribe([np.zeros(10, np.float32)])] == [""]
