"""What settings of torch change for whole recordings: each is turned off alone, beside all on."""

from __future__ import annotations

import time
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.fastconformer.tuning import Tuning, tuned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.model import FastConformer

VARIED_S = (25, 11, 18, 7, 29)
"""Lengths of the batches: a server's are never two the same, and each is a new shape to cuDNN."""

TURNS = 5


def compared(
    model: FastConformer, batches: Sequence[NDArray[np.float32]], settle: Callable[[], int]
) -> list[dict[str, object]]:
    """Return what features and encoder take with all settings on, and with each off, which is told as torch tells it.

    `first_ms` is the first turn over all `batches`, each `(batch, samples)`, of shapes that are new; `ms` the median of
    those after. `settle` waits for the device and returns the most bytes held since it was last called.
    """
    found: list[dict[str, object]] = []
    for tuning in _variants():
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        with tuned(tuning) as in_force:
            settle()
            turns, held = [], 0
            for _ in range(1 + TURNS):
                start = time.perf_counter()
                for batch in batches:
                    # Beneath the decorators, which enter the inference mode.
                    features = type(model).features.__wrapped__(model, list(batch))  # type: ignore[attr-defined]
                    type(model).encode_features.__wrapped__(model, *features)  # type: ignore[attr-defined]
                held = max(held, settle())
                turns.append(1000 * (time.perf_counter() - start))
        found.append(
            {
                **asdict(in_force),
                "first_ms": round(turns[0], 2),
                "ms": round(float(np.median(turns[1:])), 2),
                "held_gib": round(held / 2**30, 2),
            }
        )
    return found


def _variants() -> Iterator[Tuning]:
    yield Tuning()
    for field in fields(Tuning):
        yield replace(Tuning(), **{field.name: False})
