"""Log-mel features of one chunk of many streams, whose audio before it is kept on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auricle.fastconformer.streaming.features import ChunkFeatures

if TYPE_CHECKING:
    from torch import Tensor

    from auricle.fastconformer.config import FeatureConfig
    from auricle.fastconformer.device.inputs import Inputs
    from auricle.fastconformer.device.state import SlotPool
    from auricle.fastconformer.features import LogMel


class DeviceFeatures:
    """Features of chunks, in single precision whatever the precision of the model."""

    def __init__(self, config: FeatureConfig, log_mel: LogMel, device: torch.device) -> None:
        self._features = ChunkFeatures(config, log_mel.to(device, torch.float32))
        self.history = self._features.history

    def __call__(self, inputs: Inputs, pool: SlotPool) -> Tensor:
        """Return features `(batch, frames, mels)` of the chunks, and keep the end of each chunk's audio."""
        before = torch.where(inputs.fresh[:, None], 0.0, pool.audio[inputs.slots])
        audio = torch.cat((before, inputs.audio), dim=1)
        pool.audio[inputs.slots] = audio[:, -self.history :]
        return self._features(audio, self.history + inputs.samples)
