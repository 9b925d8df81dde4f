"""The layers by which a multilingual model is told the language, for blocks of streams of several languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from auricle.fastconformer.device.placing import Linear

if TYPE_CHECKING:
    from torch import Tensor

    from auricle.fastconformer.device.placing import Placing
    from auricle.fastconformer.prompts import PromptKernel


class DevicePrompts:
    """What the first layer makes of each prompt is known, so that a stream's prompt is a row of a table."""

    def __init__(self, kernel: PromptKernel, width: int, placing: Placing) -> None:
        first, _, second = cast("tuple[nn.Linear, nn.ReLU, nn.Linear]", tuple(kernel))
        self._of_frames = Linear(placing.tensor(first.weight[:, :width]), None)
        self._of_prompts = placing.tensor(first.weight[:, width:].t() + first.bias)
        self._second = placing.linear(second)

    def __call__(self, frames: Tensor, prompts: Tensor) -> Tensor:
        """Return frames of the same shape `(rows, frames, width)`, of prompts `(rows,)`."""
        x = self._of_frames(frames.to(torch.float32)) + self._of_prompts[prompts][:, None]
        return self._second(functional.relu(x, inplace=True))
