"""The FastConformer encoder: a pre-encoder and layers of half feed-forward, attention, convolution, half feed-forward.

The names of the sub-modules are those of NeMo's weights. Everything is in evaluation mode: there is no dropout.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.fastconformer.attention import Plan, RelativeAttention, plan
from auricle.fastconformer.features import valid_frames
from auricle.fastconformer.subsampling import PreEncoder
from auricle.turns import give_way

if TYPE_CHECKING:
    from auricle.fastconformer.config import AttentionContext, EncoderConfig


class Pointwise(nn.Conv1d):
    """A linear layer in the shape of a convolution over one frame, which NeMo's weights give it."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(batch, frames, outputs)` of `(batch, frames, inputs)`."""
        return functional.linear(x, self.weight[:, :, 0], self.bias)


class FeedForward(nn.Module):
    """Two linear layers with a swish between."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.linear1 = nn.Linear(config.width, config.feed_forward, bias=config.biases)
        self.linear2 = nn.Linear(config.feed_forward, config.width, bias=config.biases)

    def forward(self, x: Tensor) -> Tensor:
        """Return frames of the same shape."""
        out: Tensor = self.linear2(functional.silu(self.linear1(x)))
        return out


class Convolution(nn.Module):
    """A gated pointwise, a depthwise and a pointwise convolution over time."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.width
        self.padding = (config.conv_left, config.conv_right)
        self._by_frame = config.conv_norm == "layer_norm"
        self.pointwise_conv1 = Pointwise(width, 2 * width, bias=config.biases)
        self.depthwise_conv = nn.Conv1d(width, width, sum(self.padding) + 1, groups=width, bias=config.biases)
        self.batch_norm = nn.LayerNorm(width) if self._by_frame else nn.BatchNorm1d(width)
        self.pointwise_conv2 = Pointwise(width, width, bias=config.biases)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Return frames `(batch, frames, width)`; those outside `valid`, `(batch, frames, 1)`, reach no other."""
        x = functional.glu(self.pointwise_conv1(x), dim=2)
        if valid is not None:
            x = torch.where(valid, x, 0.0)
        x = self.depthwise_conv(functional.pad(x.transpose(1, 2), self.padding))
        x = self.batch_norm(x.transpose(1, 2)) if self._by_frame else self.batch_norm(x).transpose(1, 2)
        out: Tensor = self.pointwise_conv2(functional.silu(x))
        return out


class ConformerLayer(nn.Module):
    """One layer, each part with its norm before it and added to what came in."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.norm_feed_forward1 = nn.LayerNorm(config.width)
        self.feed_forward1 = FeedForward(config)
        self.norm_self_att = nn.LayerNorm(config.width)
        self.self_attn = RelativeAttention(config)
        self.norm_conv = nn.LayerNorm(config.width)
        self.conv = Convolution(config)
        self.norm_feed_forward2 = nn.LayerNorm(config.width)
        self.feed_forward2 = FeedForward(config)
        self.norm_out = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, plan: Plan, valid: Tensor | None) -> Tensor:
        """Return frames `(batch, frames, width)`."""
        x = x + 0.5 * self.feed_forward1(self.norm_feed_forward1(x))
        give_way()
        x = x + self.self_attn(self.norm_self_att(x), plan)
        give_way()
        x = x + self.conv(self.norm_conv(x), valid)
        give_way()
        x = x + 0.5 * self.feed_forward2(self.norm_feed_forward2(x))
        out: Tensor = self.norm_out(x)
        return out


class Encoder(nn.Module):
    """Features to encoder frames, both in single precision, whatever the weights are."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self._width = config.width
        self.scale = math.sqrt(config.width) if config.scale_input else 1.0
        self.pre_encode = PreEncoder(config)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.layers))

    def forward(self, features: Tensor, lengths: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """Return encoder frames `(batch, frames, width)` and lengths, of features `(batch, frames, mels)`.

        At least one recording must have a frame. What stands beyond a length is finite and means nothing.
        """
        x, lengths = self.pre_encode(features.to(self.pre_encode.dtype), lengths)
        x = x * self.scale
        size = x.shape[1]
        valid = valid_frames(lengths, size)[:, :, None] if bool((lengths < size).any()) else None
        how = plan(context, lengths, size, self._width, x.dtype)
        for layer in self.layers:
            give_way()
            x = layer(x, how, valid)
        return x.float(), lengths
