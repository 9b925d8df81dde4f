"""What live streams carry from chunk to chunk: one row of every tensor is a stream's slot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from auricle.fastconformer.config import EncoderConfig
    from auricle.fastconformer.subsampling import PreEncoder


class EncoderState:
    """The encoder's state of streams whose keys and values are rings of `ring` frames; none until it grows.

    `keys` and `values` have the shape `(slots, heads, ring, width / heads)` for each layer, `convolutions`
    `(slots, conv_left, width)`; `rows` are the last input rows of the pre-encoder's strided convolutions,
    `(slots, channels, bands)`.
    """

    def __init__(self, config: EncoderConfig, pre_encode: PreEncoder, ring: int) -> None:
        per_head = config.width // config.heads
        layers, dtype = range(config.layers), pre_encode.dtype
        self.keys = [torch.empty(0, config.heads, ring, per_head, dtype=dtype) for _ in layers]
        self.values = [torch.empty(0, config.heads, ring, per_head, dtype=dtype) for _ in layers]
        self.convolutions = [torch.empty(0, config.conv_left, config.width, dtype=dtype) for _ in layers]
        self.rows = [torch.empty(0, *shape, dtype=dtype) for shape in pre_encode.inputs(config.mels)]

    def grow(self, slots: int) -> None:
        """Make room for as many slots in all, the new ones zero."""
        for each in (self.keys, self.values, self.convolutions, self.rows):
            for number, tensor in enumerate(each):
                each[number] = torch.cat((tensor, tensor.new_zeros(slots - len(tensor), *tensor.shape[1:])))

    def move(self, device: torch.device) -> None:
        """Keep everything on a device from now on."""
        for each in (self.keys, self.values, self.convolutions, self.rows):
            each[:] = [tensor.to(device) for tensor in each]

    def reset(self, slots: Tensor) -> None:
        """Zero everything of these slots: a hidden key that is not a number would still poison a sum."""
        for each in (self.keys, self.values, self.convolutions, self.rows):
            for tensor in each:
                tensor[slots] = 0.0

    @property
    def bytes_per_slot(self) -> int:
        """Bytes that one stream's state takes."""
        tensors = [*self.keys, *self.values, *self.convolutions, *self.rows]
        return sum(math.prod(tensor.shape[1:]) * tensor.element_size() for tensor in tensors)
