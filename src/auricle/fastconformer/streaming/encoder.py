"""The encoder on one chunk of many streams, equal to `auricle.fastconformer.encoder` on whole recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.fastconformer.streaming.attention import ChunkAttention, table
from auricle.fastconformer.streaming.subsampling import ChunkPreEncoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auricle.fastconformer.encoder import ConformerLayer, Convolution, Encoder
    from auricle.fastconformer.streaming.block import Block
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.streaming.state import EncoderState


class ChunkConvolution:
    """The causal convolution module; its depthwise kernel is applied frame by frame, `(kernel, width)`."""

    def __init__(self, convolution: Convolution) -> None:
        depthwise, norm = convolution.depthwise_conv, convolution.batch_norm
        self._norm = None
        self._first, self._second = convolution.pointwise_conv1, convolution.pointwise_conv2
        kernel, bias = depthwise.weight[:, 0].t(), depthwise.bias
        bias = kernel.new_zeros(kernel.shape[1]) if bias is None else bias
        if isinstance(norm, nn.LayerNorm):
            self._norm = norm
        elif norm.running_mean is not None and norm.running_var is not None:
            # The mean and deviation of each band are known: a factor and an offset of the kernel.
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()
            kernel, bias = kernel * factor, (bias - norm.running_mean) * factor + norm.bias
        dtype = depthwise.weight.dtype
        self._kernel, self._bias = kernel.to(dtype).contiguous(), bias.to(dtype)

    def __call__(self, x: Tensor, before: Tensor, rows: Tensor | slice) -> Tensor:
        """Return frames `(batch, frames, width)` and move `before`, the frames before the chunks of all slots, on."""
        count = x.shape[1]
        x = torch.cat((before[rows], functional.glu(self._first(x), dim=2)), dim=1)
        before[rows] = x[:, count:]
        out = torch.addcmul(self._bias, x[:, :count], self._kernel[0])
        for place in range(1, len(self._kernel)):
            out.addcmul_(x[:, place : place + count], self._kernel[place])
        if self._norm is not None:
            out = self._norm(out)
        frames: Tensor = self._second(functional.silu(out, inplace=True))
        return frames


class ChunkLayer:
    """One layer, each part with its norm before it and added to what came in."""

    def __init__(self, layer: ConformerLayer, classes: Sequence[LatencyClass]) -> None:
        self._layer = layer
        self._attention = ChunkAttention(layer.self_attn)
        self._convolution = ChunkConvolution(layer.conv)
        self._tables = {latency: table(layer.self_attn, latency) for latency in classes}

    def __call__(self, x: Tensor, block: Block, latency: LatencyClass, state: EncoderState, number: int) -> Tensor:
        """Return frames `(batch, frames, width)` and move the state of layer `number` on."""
        layer = self._layer
        keys, values = state.keys[number], state.values[number]
        x = torch.add(x, layer.feed_forward1(layer.norm_feed_forward1(x)), alpha=0.5)
        x = x + self._attention(layer.norm_self_att(x), keys, values, self._tables[latency], block)
        x = x + self._convolution(layer.norm_conv(x), state.convolutions[number], block.rows)
        x = torch.add(x, layer.feed_forward2(layer.norm_feed_forward2(x)), alpha=0.5)
        out: Tensor = layer.norm_out(x)
        return out


class ChunkSteps(Protocol):
    """What computes chunks of live streams."""

    def __call__(self, features: Tensor, block: Block, latency: LatencyClass, state: EncoderState) -> Tensor:
        """Return encoder frames `(batch, frames, width)` and move the state of the block's slots on by the chunk."""
        ...


class ChunkEncoder:
    """Features of one chunk to its encoder frames, in each of the latency `classes`."""

    def __init__(self, encoder: Encoder, classes: Sequence[LatencyClass]) -> None:
        self._scale = encoder.scale
        self._dtype = encoder.pre_encode.dtype
        self._pre_encode = ChunkPreEncoder(encoder.pre_encode)
        self._layers = [ChunkLayer(layer, classes) for layer in cast("Iterable[ConformerLayer]", encoder.layers)]

    def __call__(self, features: Tensor, block: Block, latency: LatencyClass, state: EncoderState) -> Tensor:
        """Return encoder frames `(batch, frames, width)` and move the state of the block's slots on by the chunk."""
        x = self._pre_encode(features.to(self._dtype), state.rows, block) * self._scale
        for number, layer in enumerate(self._layers):
            x = layer(x, block, latency, state, number)
        return x.float()
