"""Whole recordings on a device, in the form that every device runs, against those on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fastconformer.checkpoints import recording
from tests.fastconformer.device.devices import for_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.fastconformer.model import FastConformer

LENGTHS = (97_123, 160, 40_000, 1480, 61_003, 150_000)


@pytest.mark.parametrize("name", ["rnnt", "tdt", "tdt_slow"])
def test_a_batch_gives_the_tokens_of_the_cpus_decoder(
    name: str, tmp_path: Path, built: Callable[[str], FastConformer]
) -> None:
    model, files = built(name), for_files(name, tmp_path)
    batch = [recording(samples, seed=samples) for samples in LENGTHS]
    found = files.decode(*files.encode(*files.features(batch), model.contexts[0]))
    for tokens, wanted in zip(found, model.decode(*model.encode(batch)), strict=True):
        assert [(one.index, one.frame, one.frames) for one in tokens] == [
            (one.index, one.frame, one.frames) for one in wanted
        ]
        for token, other in zip(tokens, wanted, strict=True):
            assert token.probability == pytest.approx(other.probability, abs=1e-4)


def test_a_batch_tells_nothing_of_the_one_before(tmp_path: Path, built: Callable[[str], FastConformer]) -> None:
    files, context = for_files("rnnt", tmp_path), built("rnnt").contexts[0]
    first = [recording(samples, seed=samples) for samples in (50_000, 30_000)]
    wanted = files.decode(*files.encode(*files.features(first), context))
    files.decode(*files.encode(*files.features([recording(48_000, seed=9)]), context))
    assert files.decode(*files.encode(*files.features(first), context)) == wanted
