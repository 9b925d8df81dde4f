"""Attention of a chunk over cached keys and values, equal to that of the whole recording.

Keys and values are projected once and kept in a ring per stream; the projections do not depend on the position, and
the projected table of distances is a constant of the layer and the latency class. A ring is never turned: the scores
of the distances are brought to the ring's order instead.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auricle.fastconformer.attention import sinusoids

if TYPE_CHECKING:
    from auricle.fastconformer.attention import RelativeAttention
    from auricle.fastconformer.streaming.block import Block
    from auricle.fastconformer.streaming.latency import LatencyClass


def table(attention: RelativeAttention, latency: LatencyClass) -> Tensor:
    """Return the projected distances from `ring - 1` down to `1 - frames`, `(heads, width / heads, distances)`."""
    biases = attention.pos_bias_u
    positions = sinusoids(latency.ring - 1, 1 - latency.frames, biases.numel(), biases.device)
    projected: Tensor = attention.linear_pos(positions.to(biases.dtype))
    return projected.view(len(positions), attention.heads, -1).permute(1, 2, 0).contiguous()


class ChunkAttention:
    """Attention with the weights of one layer's `attention`."""

    def __init__(self, attention: RelativeAttention) -> None:
        self._attention = attention
        self._scale = 1.0 / math.sqrt(attention.pos_bias_u.shape[1])

    def __call__(self, x: Tensor, keys: Tensor, values: Tensor, table: Tensor, block: Block) -> Tensor:
        """Return the attended frames, `(batch, frames, width)` as `x`, and put their keys and values into the rings.

        `table` is that of the latency class.
        """
        attention, rows = self._attention, block.rows
        batch, frames, width = x.shape
        heads = attention.heads
        query, key, value = (
            layer(x).view(batch, frames, heads, -1)
            for layer in (attention.linear_q, attention.linear_k, attention.linear_v)
        )
        keys[block.slots[:, None], :, block.written] = key
        values[block.slots[:, None], :, block.written] = value
        content, place = query + attention.pos_bias_u, query + attention.pos_bias_v
        # One product per head with all queries, since the table is the same for all.
        place = place.permute(2, 0, 1, 3).reshape(heads, batch * frames, -1)
        scores = torch.bmm(place, table).view(heads, batch, frames, -1).transpose(0, 1)
        bias = scores.gather(3, block.places[:, None].expand(-1, heads, -1, -1)) * self._scale
        if block.hidden is not None:
            bias += block.hidden
        content = content.transpose(1, 2).reshape(batch * heads, frames, -1)
        seen = keys[rows].view(batch * heads, -1, content.shape[2]).transpose(1, 2)
        scores = torch.baddbmm(bias.view(batch * heads, frames, -1), content, seen, alpha=self._scale)
        heard = torch.bmm(scores.softmax(dim=2), values[rows].view(batch * heads, -1, content.shape[2]))
        out: Tensor = attention.linear_out(
            heard.view(batch, heads, frames, -1).transpose(1, 2).reshape(batch, frames, width)
        )
        return out
