"""What the small models hear: noise that glides, and for the fitted one the sentences that it knows."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import auricle.audio
from tests.fastconformer.checkpoints import recording

if TYPE_CHECKING:
    from numpy.typing import NDArray

SENTENCES = {
    "demo-short": "please bring two cups of tea and the morning newspaper",
    "demo-sentence-01": "the bus was late again so we walked home in the rain",
    "demo-sentence-03": "i left the blue umbrella beside the kitchen door",
    "demo-sentence-04": "they planted apple trees along the old stone wall",
}
"""Recordings of the shipped demo corpus that the fitted model knows, and its words for them."""


def heard(model: str, samples: int, seed: int) -> NDArray[np.float32]:
    """Return a recording `(samples,)` for a model; for the fitted one the sentences from the seed's on."""
    if model != "fitted":
        return recording(samples, seed)
    names = [*SENTENCES]
    line = np.concatenate([spoken(names[(seed + index) % len(names)]) for index in range(len(names))])
    return np.resize(line, samples)


@cache
def spoken(name: str) -> NDArray[np.float32]:
    """Return one of the recordings in steps of sixteen bits, so that it is the same everywhere."""
    path = Path(str(resources.files("auricle"))) / "corpus" / "demo" / "audio" / f"{name}.opus"
    return (np.round(auricle.audio.load(path).samples * 32768) / 32768).astype(np.float32)
