"""Linear layers whose weights are eight-bit whole numbers, one scale for each output, on any device.

Only the weights are small: a layer's are brought to the type that the encoder computes in as it is applied, one layer
at a time, and multiplied as those of any other. So the product is torch's own on every device, what is rounded is the
weight alone, and a frame never depends on its neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.tensors.packed import rounded

if TYPE_CHECKING:
    from auricle.fastconformer.precision import Precision
    from auricle.tensors.packed import Kernel

THE_REST: Precision = "bf16"
"""What the encoder has besides and computes in; the scales are in single precision."""


def kept_in(precision: Precision) -> Precision:
    """Return what the encoder computes in on a device, and what it keeps of live streams."""
    return THE_REST if precision == "int8" else precision


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight `(outputs, inputs)` as whole numbers of eight bits, and their scales `(outputs, 1)`."""
    whole, scales = rounded(weight.detach().float())
    return whole.to(torch.int8), scales


def restored(whole: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the weight that whole numbers and scales stand for, in the type of what it is multiplied with."""
    return torch.mul(whole, scales, out=torch.empty(whole.shape, dtype=dtype, device=whole.device))


class Int8Linear(nn.Module):
    """A linear layer, or a convolution over one frame, of a network for recordings."""

    kernel: Kernel = "torch-int8-weights"

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        whole, scales = quantised(weight.flatten(1))
        self.register_buffer("_whole", whole)
        self.register_buffer("_scales", scales)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x W^T + b`, `(..., outputs)`, of `(..., inputs)`."""
        weight = restored(self.get_buffer("_whole"), self.get_buffer("_scales"), x.dtype)
        return functional.linear(x, weight, self.bias)
