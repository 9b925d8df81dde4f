"""The causal pre-encoder on one chunk: each strided convolution takes up where it stood, from one row of its input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from auricle.fastconformer.subsampling import KERNEL, STRIDE, STRIDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.streaming.block import Block
    from auricle.fastconformer.subsampling import PreEncoder


class ChunkPreEncoder:
    """Chunks of eight feature frames for each encoder frame; the weights are those of `pre_encode`."""

    def __init__(self, pre_encode: PreEncoder) -> None:
        self._layers = list(pre_encode.conv)
        self._out = pre_encode.out

    def __call__(self, features: Tensor, rows: Sequence[Tensor], block: Block) -> Tensor:
        """Return encoder frames `(batch, frames, width)` and move `rows`, of all slots, on by the chunk.

        `features` are the `(batch, 8 * frames, mels)` that end at the last one the chunk's frames see; those outside a
        recording mean nothing and reach no frame.
        """
        x = features[:, None]
        first = block.first_features
        real = block.features
        stage = 0
        for index, layer in enumerate(self._layers):
            if index in STRIDED:
                x = _masked(x, first, real)
                last = x[:, :, -1]
                x = torch.cat((rows[stage][block.rows][:, :, None], x), dim=2)
                rows[stage][block.rows] = last
                x = functional.pad(x, (KERNEL - 1, STRIDE - 1)).contiguous(memory_format=torch.channels_last)
                # Output j of a causal convolution sees the inputs up to 2 j.
                first = None if first is None else -(-first // STRIDE)
                real = None if real is None else torch.where(real > 0, real // STRIDE + 1, 0)
                stage += 1
            x = layer(x)
        frames: Tensor = self._out(x.transpose(1, 2).flatten(2))
        return frames


def _masked(x: Tensor, first: Tensor | None, real: Tensor | None) -> Tensor:
    """Return `(batch, channels, time, bands)` with zeros where a time, counted from `first`, is not in `[0, real)`."""
    if first is None or real is None:
        return x
    places = first[:, None] + torch.arange(x.shape[2])
    return torch.where(((places >= 0) & (places < real[:, None]))[:, None, :, None], x, 0.0)
