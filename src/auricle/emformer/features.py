"""Piecewise-linear log mels with global statistics, as torchaudio's `RNNTBundle` makes them.

A window of 25 ms is centred on every 10 ms, the first on the first sample; what it sees beyond an end is the audio
mirrored there. Live, every segment with its right context is mirrored at its own ends: so does torchaudio.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.emformer.config import (
    HOP_SAMPLES,
    N_FFT,
    RIGHT_FEATURES,
    SAMPLE_RATE_HZ,
    SEGMENT_FEATURES,
)

if TYPE_CHECKING:
    from auricle.emformer.files import Statistics

FEWEST_SAMPLES = N_FFT // 2 + 1
"""A shorter recording cannot be mirrored."""

_GAIN = 32767.0**2
"""Samples are taken as whole numbers of sixteen bits: their power is so much greater."""

_HTK_SCALE, _HTK_HZ = 2595.0, 700.0


class Features(nn.Module):
    """Features of audio, `(batch, frames, mels)`."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        mels = len(statistics.mean)
        self._window = torch.hann_window(N_FFT)
        self._filters = mel_filters(mels)
        self._mean = torch.tensor(statistics.mean)
        self._inverse_deviation = torch.tensor(statistics.inverse_deviation)

    def forward(self, audio: Tensor) -> Tensor:
        """Return a frame for every hop and one more, of audio `(batch, samples)`, `FEWEST_SAMPLES` at least."""
        spectrum = torch.stft(
            audio, N_FFT, HOP_SAMPLES, window=self._window, center=True, pad_mode="reflect", return_complex=True
        )
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        mels = (power @ self._filters) * _GAIN
        logs = torch.where(mels > math.e, mels.clamp(min=math.e).log(), mels)
        # torchaudio divides what is at most e after taking logarithms, so from e to e ** e both are done.
        found: Tensor = (torch.where(logs > math.e, logs, logs / math.e) - self._mean) * self._inverse_deviation
        return found

    def whole(self, audio: Tensor) -> Tensor:
        """Return the features of a whole recording `(samples,)`, its right context of zeros too: `(frames, mels)`."""
        return functional.pad(self.forward(audio[None])[0], (0, 0, 0, RIGHT_FEATURES))

    def segments(self, audio: Tensor) -> Tensor:
        """Return the features of live segments with their right contexts, `(batch, WINDOW_SAMPLES)`."""
        return self.forward(audio)[:, : SEGMENT_FEATURES + RIGHT_FEATURES]


def mel_filters(mels: int) -> Tensor:
    """Return triangular filters on HTK's mel scale, 2595 log10(1 + f / 700), as `(n_fft // 2 + 1, mels)`.

    In single precision throughout, as torchaudio has them: where edges lie close to a frequency the last bits count.
    """
    nyquist = SAMPLE_RATE_HZ / 2
    top = _HTK_SCALE * math.log10(1 + nyquist / _HTK_HZ)
    edges = _HTK_HZ * (10 ** (torch.linspace(0, top, mels + 2) / _HTK_SCALE) - 1)
    distances = edges - torch.linspace(0, nyquist, N_FFT // 2 + 1)[:, None]
    widths = edges.diff()
    rising, falling = -distances[:, :-2] / widths[:-1], distances[:, 2:] / widths[1:]
    return torch.minimum(rising, falling).clamp(min=0)
