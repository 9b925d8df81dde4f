"""Beam search and key phrases as NeMo was asked for them: which model, audio, beam and phrases each case has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import auricle.audio
from tests.fastconformer.checkpoints import RATE_HZ, build, recording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GOLDEN = Path(__file__).with_name("beam.npz")


@dataclass(frozen=True, slots=True)
class Case:
    """One model decoded at a lookahead of its own, counted; a beam of None is greedy decoding."""

    model: str
    beam: int | None
    lookahead: int = 0
    phrases: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.model}-{self.beam}-{self.lookahead}-{len(self.phrases)}"


CASES = (
    *(Case(name, beam) for name in ("rnnt", "tdt", "tdt_slow", "hybrid_tdt") for beam in (2, 4)),
    Case("hybrid_tdt_ctc.nemo", 4),
    *(Case("stream_rnnt_overfit_jfk.nemo", 4, lookahead) for lookahead in range(4)),
    Case("stream_rnnt_overfit_jfk.nemo", None, 0, ("your country", "fellow americans")),
    Case("rnnt", None, 0, ("da", "ki")),
    Case("tdt", None, 0, ("gu", "so")),
)


def archive(case: Case, data: Path, folder: Path) -> Path:
    """Return the archive of a case's model, built in `folder` where it is made from a seed."""
    if case.model.endswith(".nemo"):
        return data / "nemo" / case.model
    return build(case.model, folder)


def audio(case: Case, data: Path) -> list[NDArray[np.float32]]:
    """Return the recordings of a case."""
    if case.model.endswith(".nemo"):
        spoken = auricle.audio.load(data / "real" / "audio" / "jfk.flac")
        assert spoken.rate == RATE_HZ
        return [spoken.samples, spoken.samples[: 5 * RATE_HZ]]
    return [recording(samples, seed) for seed, samples in enumerate((40_000, 56_000, 23_000))]
