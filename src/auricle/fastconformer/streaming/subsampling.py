"""The causal pre-encoder on one chunk: each strided convolution takes up where it stood, from one row of its input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.fastconformer.subsampling import KERNEL, STRIDE, STRIDED
from auricle.tensors.packed import PackedLinear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.streaming.block import Block
    from auricle.fastconformer.subsampling import PreEncoder

_GROUP = 8
"""How many streams are computed at a time: what lies between the convolutions is large, and best kept in the cache."""


class ChunkPreEncoder:
    """Chunks of eight feature frames for each encoder frame; the weights are those of `pre_encode`."""

    def __init__(self, pre_encode: PreEncoder) -> None:
        layers = list(pre_encode.conv)
        self._strided = [layers[index] for index in STRIDED]
        after = [layers[index + 1] for index in STRIDED]
        self._pointwise = [
            PackedLinear(layer.weight, layer.bias) if isinstance(layer, nn.Conv2d) else None for layer in after
        ]
        self._out = pre_encode.out

    def __call__(self, features: Tensor, rows: Sequence[Tensor], block: Block) -> Tensor:
        """Return encoder frames `(batch, frames, width)` and move `rows`, of all slots, on by the chunk.

        `features` are the `(batch, 8 * frames, mels)` that end at the last one the chunk's frames see; those outside a
        recording mean nothing and reach no frame.
        """
        parts = [slice(start, start + _GROUP) for start in range(0, len(features), _GROUP)]
        return torch.cat([self._group(features[part], rows, block, part) for part in parts])

    def _group(self, features: Tensor, rows: Sequence[Tensor], block: Block, part: slice) -> Tensor:
        slots = block.slots[part]
        first = None if block.first_features is None else block.first_features[part]
        real = None if block.features is None else block.features[part]
        x = features[..., None]
        for state, strided, pointwise in zip(rows, self._strided, self._pointwise, strict=True):
            x = masked(x, first, real)
            before = state[slots]
            state[slots] = x[:, -1].transpose(1, 2)
            x = strided(padded(before.transpose(1, 2), x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            x = functional.relu(x if pointwise is None else pointwise(x), inplace=True)
            # Output j of a causal convolution sees the inputs up to 2 j.
            first = None if first is None else -(-first // STRIDE)
            real = None if real is None else torch.where(real > 0, real // STRIDE + 1, 0)
        frames: Tensor = self._out(x.transpose(2, 3).flatten(2))
        return frames


def padded(before: Tensor, x: Tensor) -> Tensor:
    """Return `(batch, time, bands, channels)` with a row before and zeros beside the bands."""
    batch, time, bands, channels = x.shape
    out = x.new_empty(batch, time + 1, KERNEL - 1 + bands + STRIDE - 1, channels)
    within = slice(KERNEL - 1, KERNEL - 1 + bands)
    out[:, :, : within.start] = 0.0
    out[:, :, within.stop :] = 0.0
    out[:, 0, within] = before
    out[:, 1:, within] = x
    return out


def masked(x: Tensor, first: Tensor | None, real: Tensor | None) -> Tensor:
    """Return `(batch, time, bands, channels)` with zeros where a time, counted from `first`, is not in `[0, real)`."""
    if first is None or real is None:
        return x
    places = first[:, None] + torch.arange(x.shape[1], device=x.device)
    return torch.where(((places >= 0) & (places < real[:, None]))[:, :, None, None], x, 0.0)
