"""The analysis window and the mel filters of features, for models whose weights do not hold them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.fastconformer.config import FeatureConfig

_LINEAR_MELS = 15
_HZ_PER_LINEAR_MEL = 200 / 3
_LINEAR_HZ = 1000
_LOG_STEP = math.log(6.4) / 27


def filterbank(config: FeatureConfig) -> dict[str, Tensor]:
    """Return the symmetric Hann window and the mel filters under NeMo's names for them."""
    import torch

    return {
        "preprocessor.featurizer.window": torch.hann_window(config.window_samples, periodic=False),
        "preprocessor.featurizer.fb": torch.from_numpy(mel_filters(config.sample_rate, config.n_fft, config.mels))[
            None
        ],
    }


def mel_filters(sample_rate: int, n_fft: int, mels: int) -> NDArray[np.float32]:
    """Return triangular filters of equal area on Slaney's mel scale, shape `(mels, n_fft // 2 + 1)`.

    The scale (M. Slaney, Auditory Toolbox, 1998) is linear up to 1 kHz, 200 / 3 Hz to the mel, and logarithmic above.
    NeMo takes them from librosa, `filters.mel(norm="slaney")`; transformers computes the same.
    """
    nyquist = sample_rate / 2
    top = _LINEAR_MELS + math.log(nyquist / _LINEAR_HZ) / _LOG_STEP
    edges = _hertz(np.linspace(0, top, mels + 2))
    bins = np.linspace(0, nyquist, n_fft // 2 + 1)
    slopes = (bins - edges[:, None]) / np.diff(edges, append=np.inf)[:, None]
    rising, falling = slopes[:-2], 1 - slopes[1:-1]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return filters.astype(np.float32)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _LINEAR_HZ * np.exp(_LOG_STEP * (mel - _LINEAR_MELS))
    return np.where(mel < _LINEAR_MELS, mel * _HZ_PER_LINEAR_MEL, above)
