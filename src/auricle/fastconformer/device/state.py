"""What live streams keep on a device: one pool of slots, any of which may serve any latency class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from auricle.fastconformer.config import EncoderConfig
    from auricle.fastconformer.subsampling import PreEncoder


class SlotPool:
    """The encoder's state of `slots` streams and, last, of a spare one for rows without a stream.

    `keys` and `values` have the shape `(slots, heads, ring, width / heads)` for each layer, where `ring` is that of the
    class with the longest; `convolutions` `(slots, conv_left, width)`; `rows`, the last input rows of the pre-encoder's
    strided convolutions, `(slots, channels, bands)`; `audio` the samples before the next chunk, `(slots, history)`.
    """

    def __init__(
        self,
        config: EncoderConfig,
        pre_encode: PreEncoder,
        slots: int,
        ring: int,
        history: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        rows, per_head = slots + 1, config.width // config.heads
        layers = range(config.layers)

        def zeros(*shape: int, kind: torch.dtype = dtype) -> Tensor:
            return torch.zeros(rows, *shape, dtype=kind, device=device)

        self.slots = slots
        self.graphs: Any = None
        self.keys = [zeros(config.heads, ring, per_head) for _ in layers]
        self.values = [zeros(config.heads, ring, per_head) for _ in layers]
        self.convolutions = [zeros(config.conv_left, config.width) for _ in layers]
        self.rows = [zeros(*shape) for shape in pre_encode.inputs(config.mels)]
        self.audio = zeros(history, kind=torch.float32)

    @property
    def bytes_per_slot(self) -> int:
        """Bytes that one stream's state takes."""
        tensors = [*self.keys, *self.values, *self.convolutions, *self.rows, self.audio]
        return sum(math.prod(tensor.shape[1:]) * tensor.element_size() for tensor in tensors)
