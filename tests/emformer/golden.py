"""Which results of torchaudio are recorded in `golden.npz`, and how to read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOLDEN = Path(__file__).with_name("golden.npz")
GRID = (480, 799, 800, 2_559, 2_560, 2_561, 3_200, 3_839, 16_000, 40_001, 63_999, 112_345)
"""Samples. Under 480 torchaudio's offline pass has no frame and fails."""
LIVE_GRID = (201, *GRID)
BEAMS = (1, 10)
FEATURES = 40
"""So many feature frames are recorded."""
SAMPLED = 3
"""Of the encoder frames, one in so many."""


@dataclass(frozen=True, slots=True)
class Case:
    """One model with one beam over recordings, whole as `forward` takes them or live as `infer` does."""

    model: str
    beam: int
    live: bool

    @property
    def samples(self) -> tuple[int, ...]:
        """How long the recordings are."""
        return LIVE_GRID if self.live else GRID

    def __str__(self) -> str:
        return f"{self.model}-{self.beam}-{'live' if self.live else 'whole'}"


CASES = tuple(
    Case(model, beam, live) for model in ("sharp", "talkative", "fitted") for beam in BEAMS for live in (False, True)
)


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What torchaudio made of one recording: some features and encoder frames, and its hypotheses, the best first."""

    features: NDArray[np.float32]
    length: int
    encoded: NDArray[np.float32]
    hypotheses: list[list[int]]
    scores: NDArray[np.float32]
    text: str


def expected(case: Case) -> list[Expected]:
    """Return torchaudio's results, one for each recording of a case."""
    with np.load(GOLDEN) as file:
        found = {key.rpartition("/")[2]: file[key] for key in file.files if key.startswith(f"{case}/")}
        kept = f"{case.model}-{'live' if case.live else 'whole'}"
        features, encoded = file[f"{kept}/features"], file[f"{kept}/encoded"]
        lengths, frames, rows = file[f"{kept}/lengths"], file[f"{kept}/feature_counts"], file[f"{kept}/encoded_counts"]
    heard = np.split(features, np.cumsum(frames)[:-1])
    coded = np.split(encoded, np.cumsum(rows)[:-1])
    tokens = np.split(found["tokens"], np.cumsum(found["counts"])[:-1])
    results = []
    for index in range(len(case.samples)):
        mine = slice(index * case.beam, (index + 1) * case.beam)
        said = [one.tolist() for one in tokens[mine]]
        results.append(
            Expected(
                heard[index], int(lengths[index]), coded[index], said, found["scores"][mine], str(found["texts"][index])
            )
        )
    return results
