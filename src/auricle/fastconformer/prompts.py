"""The layers by which a multilingual model is told the language."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from auricle.fastconformer.config import PromptConfig


class PromptKernel(nn.ModuleList):
    """Encoder frames with the prompt of their recording beside them, through two linear layers, under NeMo's names."""

    def __init__(self, config: PromptConfig, width: int) -> None:
        first = nn.Linear(width + config.count, config.hidden)
        super().__init__([first, nn.ReLU(), nn.Linear(config.hidden, width)])
        self._count = config.count

    def forward(self, frames: Tensor, prompts: Tensor) -> Tensor:
        """Return frames of the same shape `(batch, frames, width)`, of prompts `(batch,)`."""
        told = functional.one_hot(prompts, self._count).to(frames)[:, None].expand(-1, frames.shape[1], -1)
        x = torch.cat((frames, told), dim=2)
        for layer in self:
            x = layer(x)
        return x
