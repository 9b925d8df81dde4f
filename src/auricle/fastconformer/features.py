"""Log-mel features as NeMo's AudioToMelSpectrogramPreprocessor computes them in evaluation, without dither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from auricle.fastconformer.config import FeatureConfig

_LEAST_DEVIATION = 1e-5


class Filterbank(nn.Module):
    """The window, shape `(window_samples,)`, and the mel filters, shape `(1, mels, n_fft // 2 + 1)`, of the archive."""

    window: Tensor
    fb: Tensor

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.register_buffer("window", torch.empty(config.window_samples))
        self.register_buffer("fb", torch.empty(1, config.mels, config.n_fft // 2 + 1))


class LogMel(nn.Module):
    """Log-mel features; a frame is centred on every `hop_samples`-th sample, the first on the first one."""

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.featurizer = Filterbank(config)
        self._config = config

    def frames(self, samples: int) -> int:
        """Return how many frames `samples` samples give: one for each whole hop."""
        return samples // self._config.hop_samples

    def forward(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return features, shape `(batch, frames, mels)`, and their lengths, of audio `(batch, samples)`.

        Frames beyond a recording's length are zero.
        """
        config = self._config
        counts = lengths // config.hop_samples
        power = self._power(self._emphasised(audio, lengths))[:, :, : int(counts.max())]
        mels = torch.log(self.featurizer.fb @ power + config.log_guard)
        valid = valid_frames(counts, mels.shape[2])[:, None]
        if config.per_feature:
            mels = _normalised(mels, valid)
        return torch.where(valid, mels, 0.0).transpose(1, 2), counts

    def _emphasised(self, audio: Tensor, lengths: Tensor) -> Tensor:
        if self._config.preemphasis is None:
            return audio
        audio = torch.cat((audio[:, :1], audio[:, 1:] - self._config.preemphasis * audio[:, :-1]), dim=1)
        return torch.where(valid_frames(lengths, audio.shape[1]), audio, 0.0)

    def _power(self, audio: Tensor) -> Tensor:
        config = self._config
        spectrum = torch.stft(
            audio,
            n_fft=config.n_fft,
            hop_length=config.hop_samples,
            win_length=config.window_samples,
            window=self.featurizer.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return torch.view_as_real(spectrum).square().sum(-1)


def valid_frames(lengths: Tensor, size: int) -> Tensor:
    """Return which of `size` places lie within each length, shape `(batch, size)`."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def _normalised(mels: Tensor, valid: Tensor) -> Tensor:
    """Return `(batch, mels, frames)` less the mean, over the unbiased deviation, of each band's valid frames."""
    count = valid.sum(dim=2)
    mean = torch.where(valid, mels, 0.0).sum(dim=2) / count.clamp(min=1)
    squares = torch.where(valid, mels - mean[:, :, None], 0.0).square().sum(dim=2)
    deviation = (squares / (count - 1).clamp(min=1)).sqrt() + _LEAST_DEVIATION
    return (mels - mean[:, :, None]) / deviation[:, :, None]
