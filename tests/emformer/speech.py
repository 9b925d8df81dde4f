"""What the small models hear: noise that glides, and for the fitted one what it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fastconformer.checkpoints import recording

if TYPE_CHECKING:
    from torch import Tensor


def heard(model: str, samples: int, seed: int) -> Tensor:
    """Return a recording `(samples,)` for a model."""
    import torch

    return torch.from_numpy(recording(samples, seed))
