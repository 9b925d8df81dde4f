"""Weights on their way to a device: side by side where they are applied together, in one type of number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.fastconformer.device.int8 import quantised, restored
from auricle.fastconformer.device.operations import Norm, Places, Strided, Taps
from auricle.fastconformer.streaming.attention import table

if TYPE_CHECKING:
    from auricle.fastconformer.encoder import ConformerLayer, Convolution
    from auricle.fastconformer.streaming.latency import LatencyClass

ALIGNED = 8
"""Tensor cores take rows of a multiple of so many values."""


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A linear layer's weight `(outputs, inputs)` and bias `(outputs,)`, if any; scales, if of whole numbers."""

    weight: Tensor
    bias: Tensor | None
    scales: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return `(..., outputs)` of `(..., inputs)`."""
        weight = self.weight if self.scales is None else restored(self.weight, self.scales, x.dtype)
        return functional.linear(x, weight, self.bias)


class Placing:
    """Where weights go: a device and a type of number; with `int8`, what `layer` takes to whole numbers of 8 bits."""

    def __init__(self, device: torch.device, dtype: torch.dtype, *, int8: bool = False) -> None:
        self.device = device
        self.dtype = dtype
        self._int8 = int8

    def tensor(self, value: Tensor) -> Tensor:
        """Return a copy of weights there."""
        return value.detach().to(self.device, self.dtype).contiguous()

    def linear(self, *layers: nn.Linear | nn.Conv1d | nn.Conv2d) -> Linear:
        """Return the layers side by side as one, those of a convolution over one frame too."""
        weight = torch.cat([layer.weight.flatten(1) for layer in layers])
        biases = [layer.bias for layer in layers if layer.bias is not None]
        return Linear(self.tensor(weight), self.tensor(torch.cat(biases)) if biases else None)

    def layer(self, *layers: nn.Linear | nn.Conv1d) -> Linear:
        """Return the layers side by side as one, as those of an encoder's layer are kept."""
        linear = self.linear(*layers)
        if not self._int8:
            return linear
        whole, scales = quantised(torch.cat([layer.weight.flatten(1) for layer in layers]))
        return Linear(whole.to(self.device), linear.bias, scales.to(self.device))

    def norm(self, layer: nn.LayerNorm) -> Norm:
        """Return a layer norm there."""
        return Norm(self.tensor(layer.weight), self.tensor(layer.bias), layer.eps)

    def strided(self, layer: nn.Conv2d) -> Strided:
        """Return a convolution with one input channel, or one for each output."""
        return Strided(self.tensor(layer.weight[:, 0].permute(1, 2, 0)), self.tensor(cast("Tensor", layer.bias)))

    def taps(self, convolution: Convolution) -> Taps:
        """Return the depthwise kernel; a batch norm's factor and offset for each band are put into it."""
        depthwise, norm = convolution.depthwise_conv, convolution.batch_norm
        kernel, bias = depthwise.weight[:, 0].t(), depthwise.bias
        bias = kernel.new_zeros(kernel.shape[1]) if bias is None else bias
        if isinstance(norm, nn.LayerNorm):
            return Taps(self.tensor(kernel), self.tensor(bias), self.norm(norm))
        mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        factor = norm.weight / (variance + norm.eps).sqrt()
        return Taps(self.tensor(kernel * factor), self.tensor((bias - mean) * factor + norm.bias), None)

    def places(self, layer: ConformerLayer, latency: LatencyClass) -> Places:
        """Return the positions of one layer in one latency class, with as many distances as tensor cores like."""
        attention = layer.self_attn
        projected = table(attention, latency)
        projected = functional.pad(projected, (0, -projected.shape[2] % ALIGNED))
        bias = torch.einsum("hd,hdp->hp", attention.pos_bias_v, projected)
        return Places(self.tensor(projected), bias.float().to(self.device), self.tensor(attention.pos_bias_u))
