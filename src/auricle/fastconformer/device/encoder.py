"""The encoder on one chunk of many streams as one fixed sequence of operations, each over all rows of a block.

What the host would have to decide is decided on the device: a slot's age hides the places of its ring that were never
written, and starts it from zeros at an utterance's first chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from auricle.fastconformer.subsampling import STRIDE, STRIDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from auricle.fastconformer.device.inputs import Inputs
    from auricle.fastconformer.device.operations import Norm, Operations
    from auricle.fastconformer.device.placing import Linear, Placing
    from auricle.fastconformer.device.state import SlotPool
    from auricle.fastconformer.encoder import ConformerLayer, Encoder
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.subsampling import PreEncoder


class DevicePreEncoder:
    """Chunks of eight feature frames for each encoder frame."""

    def __init__(self, pre_encode: PreEncoder, placing: Placing, operations: Operations) -> None:
        layers = list(pre_encode.conv)
        self._operations = operations
        self._strided = [placing.strided(cast("nn.Conv2d", layers[index])) for index in STRIDED]
        after = [layers[index + 1] for index in STRIDED]
        self._pointwise = [placing.linear(layer) if isinstance(layer, nn.Conv2d) else None for layer in after]
        self._out = placing.linear(pre_encode.out)

    def __call__(self, features: Tensor, rows: Sequence[Tensor], inputs: Inputs) -> Tensor:
        """Return encoder frames `(batch, frames, width)` of features `(batch, 8 * frames, mels)`."""
        first, real = inputs.first_features, inputs.features
        x = features[..., None]
        for state, strided, pointwise in zip(rows, self._strided, self._pointwise, strict=True):
            relu = pointwise is None
            x = self._operations.stride(x, state, strided, inputs, first, real, relu=relu)
            x = x if pointwise is None else functional.relu(pointwise(x), inplace=True)
            # Output j of a causal convolution sees the inputs up to 2 j.
            first = -(-first // STRIDE)
            real = torch.where(real > 0, real // STRIDE + 1, 0)
        return self._out(x.transpose(2, 3).flatten(2))


class DeviceLayer:
    """One layer, each part with its norm before it and added to what came in."""

    def __init__(self, layer: ConformerLayer, classes: Sequence[LatencyClass], placing: Placing) -> None:
        attention, convolution = layer.self_attn, layer.conv
        self.norms = [
            placing.norm(norm)
            for norm in (
                layer.norm_feed_forward1,
                layer.norm_self_att,
                layer.norm_conv,
                layer.norm_feed_forward2,
                layer.norm_out,
            )
        ]
        self.projections = placing.layer(attention.linear_q, attention.linear_k, attention.linear_v)
        self.attended = placing.layer(attention.linear_out)
        self.places = {latency: placing.places(layer, latency) for latency in classes}
        self.gated, self.convolved = (
            placing.layer(convolution.pointwise_conv1),
            placing.layer(convolution.pointwise_conv2),
        )
        self.taps = placing.taps(convolution)
        self.feed_forward = [
            (placing.layer(part.linear1), placing.layer(part.linear2))
            for part in (layer.feed_forward1, layer.feed_forward2)
        ]


class DeviceEncoder:
    """Features of one chunk to its encoder frames, in each of the latency `classes`."""

    def __init__(
        self, encoder: Encoder, classes: Sequence[LatencyClass], placing: Placing, operations: Operations
    ) -> None:
        self._operations = operations
        self._scale = encoder.scale
        self._dtype = placing.dtype
        self._pre_encode = DevicePreEncoder(encoder.pre_encode, placing, operations)
        layers = cast("Iterable[ConformerLayer]", encoder.layers)
        self._layers = [DeviceLayer(layer, classes, placing) for layer in layers]

    def __call__(self, features: Tensor, inputs: Inputs, latency: LatencyClass, pool: SlotPool) -> Tensor:
        """Return encoder frames `(batch, frames, width)` and move the state of the block's slots on by the chunk."""
        frames = self._pre_encode(features.to(self._dtype), pool.rows, inputs)
        x = (frames * self._scale).flatten(0, 1)
        first = self._layers[0].norms[0]
        normed = functional.layer_norm(x, first.weight.shape, first.weight, first.bias, first.eps)
        for number, layer in enumerate(self._layers):
            following = self._layers[number + 1].norms[0] if number + 1 < len(self._layers) else None
            x, normed = self._layer(x, normed, layer, following, inputs, latency, pool, number)
        return x.view(len(features), latency.frames, -1)

    def _layer(
        self,
        x: Tensor,
        normed: Tensor,
        layer: DeviceLayer,
        following: Norm | None,
        inputs: Inputs,
        latency: LatencyClass,
        pool: SlotPool,
        number: int,
    ) -> tuple[Tensor, Tensor]:
        """Return frames `(rows, width)` after a layer, and the norm of them that begins the one after it, if any."""
        do = self._operations
        _, before_attention, before_convolution, before_second, out = layer.norms
        x, normed = do.add_norm(x, _feed_forward(normed, *layer.feed_forward[0]), 0.5, before_attention)
        rings = pool.keys[number], pool.values[number]
        heard = do.attend(layer.projections(normed), layer.places[latency], *rings, inputs, latency)
        x, normed = do.add_norm(x, layer.attended(heard), 1.0, before_convolution)
        heard = do.convolve(layer.gated(normed), layer.taps, pool.convolutions[number], inputs, latency.frames)
        x, normed = do.add_norm(x, layer.convolved(heard), 1.0, before_second)
        y = _feed_forward(normed, *layer.feed_forward[1])
        return do.add_norms(x, y, 0.5, out, out if following is None else following)


def _feed_forward(x: Tensor, widen: Linear, narrow: Linear) -> Tensor:
    return narrow(functional.silu(widen(x), inplace=True))
