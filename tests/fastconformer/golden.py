"""Which results of NeMo are recorded in `golden.npz`, and how to read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auricle.fastconformer.model import Head

GOLDEN = Path(__file__).with_name("golden.npz")
GRID = (160, 161, 400, 1279, 1280, 1439, 2400, 9_999, 16_000, 40_001, 112_345)
LONG = (400_000, 1_920_000)
TEN_MINUTES = (9_600_000,)
_LENGTHS = {GRID: "", LONG: "-long", TEN_MINUTES: "-ten-minutes"}
_WHOLE_FRAMES = 96
_STEP_FRAMES = 37


@dataclass(frozen=True, slots=True)
class Case:
    """One model over recordings of so many samples, at one of its lookaheads or with a local window of frames.

    `language` is what a model with prompts is told.
    """

    model: str
    head: Head = "transducer"
    lookahead: int = 0
    window: tuple[int, int] | None = None
    samples: tuple[int, ...] = GRID
    language: str | None = None

    def __str__(self) -> str:
        window = "" if self.window is None else f"-window{self.window[0]}"
        language = "" if self.language is None else f"-{self.language}"
        return f"{self.model}-{self.head}-{self.lookahead}{window}{language}" + _LENGTHS[self.samples]


CASES = (
    Case("rnnt"),
    Case("rnnt", window=(11, 11)),
    Case("rnnt", window=(128, 128), samples=LONG),
    Case("rnnt", samples=LONG),
    *(Case("rnnt_stream", lookahead=lookahead) for lookahead in range(4)),
    Case("rnnt_stream", lookahead=1, samples=LONG),
    Case("rnnt_stream", lookahead=0, samples=TEN_MINUTES),
    Case("tdt"),
    Case("tdt", samples=LONG),
    Case("tdt_slow"),
    Case("ctc", head="ctc"),
    Case("ctc", head="ctc", samples=TEN_MINUTES),
    Case("ctc_local", head="ctc"),
    Case("hybrid_tdt"),
    Case("hybrid_tdt", head="ctc"),
    Case("hybrid_stream"),
    Case("hybrid_stream", lookahead=1),
    Case("hybrid_stream", head="ctc", lookahead=1),
    Case("multilingual", language="en-US"),
    Case("multilingual", lookahead=1, language="de"),
    Case("multilingual", lookahead=3, language="auto"),
    Case("multilingual", language="auto", samples=LONG),
    Case("prompted_hybrid", language="no"),
    Case("prompted_hybrid", language="de", lookahead=1),
    Case("prompted_hybrid", head="ctc", language="de"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What NeMo made of one recording, at the frames that `sampled` keeps; `sure` tokens come before the first tie."""

    encoded: NDArray[np.float32]
    length: int
    tokens: list[int]
    frames: list[int]
    text: str
    sure: int
    settled: bool


def sampled(encoded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the frames of a recording that are recorded: all of a short one, the ends and every 37th of a long one."""
    if len(encoded) <= _WHOLE_FRAMES:
        return encoded
    kept = sorted({*range(4), *range(len(encoded) - 4, len(encoded)), *range(0, len(encoded), _STEP_FRAMES)})
    return encoded[kept]


def expected(case: Case) -> list[Expected]:
    """Return NeMo's results, one for each recording of a case."""
    with np.load(GOLDEN) as file:
        recorded = {key: file[f"{case}/{key}"] for key in (*_KEYS, "encoded", "tokens", "frames")}
    kept = [len(sampled(np.empty((length, 1), np.float32))) for length in recorded["lengths"]]
    encoded = np.split(recorded["encoded"], np.cumsum(kept)[:-1])
    cuts = np.cumsum(recorded["counts"])[:-1]
    tokens, frames = np.split(recorded["tokens"], cuts), np.split(recorded["frames"], cuts)
    return [
        Expected(encoded[i], int(recorded["lengths"][i]), tokens[i].tolist(), frames[i].tolist(),
                 str(recorded["texts"][i]), int(recorded["sure"][i]),
                 bool(recorded["settled"][i]))
        for i in range(len(case.samples))
    ]  # fmt: skip


_KEYS = ("lengths", "counts", "texts", "sure", "settled")
