"""Mel filters: those of NeMo's preprocessor, and the same as they would be for voices of other shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_STEP = math.log(6.4) / 27
_LINEAR_MELS = 15


def mel_filters(rate: int, n_fft: int, mels: int) -> NDArray[np.float32]:
    """Return triangular filters of equal area, shape `(mels, n_fft // 2 + 1)`, on Slaney's mel scale.

    The scale (Auditory Toolbox, 1998) is linear up to 1 kHz, 200 / 3 Hz to the mel, and logarithmic above.
    """
    filters: NDArray[np.float32] = warped_filters(rate, mels, bins(rate, n_fft)).numpy().astype(np.float32)
    return filters


def bins(rate: int, n_fft: int) -> Tensor:
    """Return the frequencies of a spectrum in hertz, `(n_fft // 2 + 1,)` in double precision."""
    return torch.linspace(0, rate / 2, n_fft // 2 + 1, dtype=torch.double)


def warped_filters(rate: int, mels: int, heard: Tensor) -> Tensor:
    """Return filters `(..., mels, bins)` that take each bin for the frequency `heard`, `(..., bins)`."""
    top = _LINEAR_MELS + math.log(rate / 2000) / _STEP
    places = np.linspace(0, top, mels + 2)
    hertz = np.where(places < _LINEAR_MELS, places * 200 / 3, 1000 * np.exp(_STEP * (places - _LINEAR_MELS)))
    edges = torch.from_numpy(hertz).to(heard)[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    heard = heard[..., None, :]
    rising, falling = (heard - lower) / (centre - lower), (upper - heard) / (upper - centre)
    return torch.minimum(rising, falling).clamp(min=0) * (2 / (upper - lower))
