"""Log-mel features of one chunk of many streams, equal to those of whole recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auricle.fastconformer.streaming.latency import reach

if TYPE_CHECKING:
    from auricle.fastconformer.config import FeatureConfig
    from auricle.fastconformer.features import LogMel


class ChunkFeatures:
    """Features of chunks that come with `history` samples before them; the weights are those of `log_mel`."""

    def __init__(self, config: FeatureConfig, log_mel: LogMel) -> None:
        self._config = config
        self._window = log_mel.featurizer.window
        self._filters = log_mel.featurizer.fb[0].t().contiguous()
        before, after = reach(config)
        # One sample more for the emphasis, which takes the one before.
        self.history = before + after - config.hop_samples + 1

    def __call__(self, audio: Tensor, real: Tensor | None) -> Tensor:
        """Return features `(batch, frames, mels)` of audio `(batch, history + frames * hop)`.

        What stands before a stream is zero; of each row the first `real` samples are audio, None for all.
        """
        config = self._config
        samples = audio[:, 1:]
        if config.preemphasis is not None:
            samples = samples - config.preemphasis * audio[:, :-1]
            if real is not None:
                within = torch.arange(1, audio.shape[1], device=audio.device) < real[:, None]
                samples = torch.where(within, samples, 0.0)
        windows = samples.unfold(1, config.window_samples, config.hop_samples) * self._window
        power = torch.view_as_real(torch.fft.rfft(windows, n=config.n_fft)).square().sum(-1)
        return torch.log(power @ self._filters + config.log_guard)
