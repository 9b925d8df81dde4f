"""Log mel features, as the model was trained on: 25 ms every 10 ms, 128 mels, the loudest 80 dB of a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE_HZ = 16_000
HOP = 160
FFT = 400
SHORTEST = 8_000
"""Shorter audio is filled up with silence."""

_TOP_HZ = 8_000.0
_FLOOR = 1e-10
_RANGE = 8.0
"""Powers of ten below the loudest that are told apart."""


class Features:
    """Computes features; it remembers nothing."""

    def __init__(self, mels: int, device: torch.device) -> None:
        from transformers.audio_utils import mel_filter_bank

        filters = mel_filter_bank(FFT // 2 + 1, mels, 0.0, _TOP_HZ, RATE_HZ, norm="slaney", mel_scale="slaney")
        self._filters = torch.from_numpy(filters.T.copy()).float().to(device)
        self._window = torch.hann_window(FFT, device=device)
        self._device = device

    def __call__(self, samples: NDArray[np.float32]) -> Tensor:
        """Return the features of a whole recording, `(mels, frames)`, a frame for each 10 ms that are whole."""
        wave = torch.from_numpy(samples).to(self._device)
        if len(wave) < SHORTEST:
            wave = functional.pad(wave, (0, SHORTEST - len(wave)))
        logs = self._logs(wave, center=True)[:, :-1]
        return scaled(logs, logs.max())

    def piece(self, wave: Tensor) -> Tensor:
        """Return the logarithms of mels, `(mels, frames)`, of samples that hold all that their frames see."""
        return self._logs(wave, center=False)

    def _logs(self, wave: Tensor, *, center: bool) -> Tensor:
        spectrum = torch.stft(wave, FFT, HOP, window=self._window, center=center, return_complex=True)
        return (self._filters @ spectrum.abs().square()).clamp_(min=_FLOOR).log10()


def scaled(logs: Tensor, loudest: Tensor) -> Tensor:
    """Return logarithms of mels as the encoder wants them, given the loudest of the recording."""
    return (torch.maximum(logs, loudest - _RANGE) + 4.0) / 4.0
