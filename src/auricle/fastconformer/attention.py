"""Self-attention with relative positions over a bounded context, computed block of queries by block.

The scores are those of Transformer-XL (https://arxiv.org/abs/1901.02860, section 3.3): a content term and a term for
the distance `i - j` of query i from key j. A context names the keys that a query may see; only the keys that some query
of a block may see are touched, so time and memory grow with the context and not with the square of the length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.fastconformer.features import valid_frames
from auricle.fastconformer.memory import QUERY_BLOCK_FRAMES
from auricle.turns import give_way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.config import AttentionContext, EncoderConfig

LONGEST_PERIOD = 10_000.0


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Queries `[start, stop)` and the keys `[first, last)` they may see.

    `hidden` is added to the scores, shape `(batch or 1, 1, queries, keys)`: minus infinity where a query may not look,
    None where all may look everywhere. `offset` is where the distance of the first query from the last key stands in
    the table of positions.
    """

    start: int
    stop: int
    first: int
    last: int
    offset: int
    hidden: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How one batch attends: its blocks, and the sinusoids of every distance in them, `(distances, width)`."""

    blocks: Sequence[Block]
    positions: Tensor


def plan(context: AttentionContext, lengths: Tensor, size: int, width: int, dtype: torch.dtype) -> Plan:
    """Plan attention over `size` frames of a type, of which the first `lengths` of each recording are real."""
    padded = bool((lengths < size).any())
    spans = [(start, stop, *_seen(context, start, stop, size)) for start, stop in _queries(context, size)]
    # Distances run down from that of the last query of a block from its first key.
    farthest = max(stop - 1 - first for _, stop, first, _ in spans)
    nearest = min(start - (last - 1) for start, _, _, last in spans)
    blocks = []
    for start, stop, first, last in spans:
        query = torch.arange(start, stop, device=lengths.device)[:, None]
        key = torch.arange(first, last, device=lengths.device)[None]
        allowed = _allowed(context, query, key)[None]
        if padded:
            # A frame beyond the end sees itself, since a softmax over nothing is not a number.
            allowed = (allowed & valid_frames(lengths, size)[:, None, first:last]) | (query == key)
        hidden = None if bool(allowed.all()) else torch.zeros(allowed.shape, dtype=dtype, device=lengths.device)
        if hidden is not None:
            hidden = hidden.masked_fill(~allowed, -math.inf)[:, None]
        blocks.append(Block(start, stop, first, last, farthest - (stop - 1 - first), hidden))
    return Plan(blocks, sinusoids(farthest, nearest, width, lengths.device).to(dtype))


def _queries(context: AttentionContext, size: int) -> list[tuple[int, int]]:
    """Cut the frames into blocks of queries, of whole chunks where the context has chunks."""
    chunk = context.right + 1 if context.chunked and context.right is not None else 1
    block = max(chunk, QUERY_BLOCK_FRAMES // chunk * chunk)
    return [(start, min(start + block, size)) for start in range(0, size, block)]


def _seen(context: AttentionContext, start: int, stop: int, size: int) -> tuple[int, int]:
    """Return the first and one past the last key that some query of a block may see."""
    first = 0 if context.left is None else max(0, start - context.left)
    if context.right is None:
        return first, size
    return first, stop if context.chunked else min(size, stop + context.right)


def _allowed(context: AttentionContext, query: Tensor, key: Tensor) -> Tensor:
    left, right = context.left, context.right
    if context.chunked and context.right is not None:
        chunk = context.right + 1
        distance = query // chunk - key // chunk
        left, right = None if left is None else left // chunk, 0
    else:
        distance = query - key
    allowed = torch.ones_like(distance, dtype=torch.bool)
    if left is not None:
        allowed &= distance <= left
    if right is not None:
        allowed &= distance >= -right
    return allowed


def sinusoids(farthest: int, nearest: int, width: int, device: torch.device) -> Tensor:
    """Return sines and cosines, interleaved, of the distances from `farthest` down to `nearest`."""
    distances = torch.arange(farthest, nearest - 1, -1, dtype=torch.float32, device=device)[:, None]
    steps = torch.arange(0, width, 2, dtype=torch.float32, device=device)
    angles = distances * torch.exp(steps * -(math.log(LONGEST_PERIOD) / width))
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)


class RelativeAttention(nn.Module):
    """Multi-head attention with relative positions."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads
        self.linear_q = nn.Linear(width, width, bias=config.biases)
        self.linear_k = nn.Linear(width, width, bias=config.biases)
        self.linear_v = nn.Linear(width, width, bias=config.biases)
        self.linear_out = nn.Linear(width, width, bias=config.biases)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(self.heads, width // self.heads))
        self.pos_bias_v = nn.Parameter(torch.empty(self.heads, width // self.heads))

    def forward(self, x: Tensor, plan: Plan) -> Tensor:
        """Return the attended frames, shape `(batch, frames, width)` as `x`."""
        query, key, value = (self._split(layer(x)) for layer in (self.linear_q, self.linear_k, self.linear_v))
        table = self._split(self.linear_pos(plan.positions)[None])
        content, place = query + self.pos_bias_u[:, None], query + self.pos_bias_v[:, None]
        parts = [_attend(block, content, place, key, value, table) for block in plan.blocks]
        out: Tensor = self.linear_out(torch.cat(parts, dim=2).transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """Return `(batch, heads, frames, width / heads)` of `(batch, frames, width)`."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def _attend(block: Block, content: Tensor, place: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
    """Return `(batch, heads, queries, width / heads)` for one block."""
    give_way()
    queries, keys = block.stop - block.start, block.last - block.first
    scale = 1.0 / math.sqrt(key.shape[3])
    seen = table[:, :, block.offset : block.offset + queries + keys - 1]
    scores = place[:, :, block.start : block.stop] @ seen.transpose(2, 3) * scale
    bias = _by_key(scores, queries, keys)
    if block.hidden is not None:
        bias = bias + block.hidden
    return functional.scaled_dot_product_attention(
        content[:, :, block.start : block.stop],
        key[:, :, block.first : block.last],
        value[:, :, block.first : block.last],
        attn_mask=bias,
        scale=scale,
    )


def _by_key(scores: Tensor, queries: int, keys: int) -> Tensor:
    """Return scores by key, `(..., queries, keys)`, of scores by distance, `(..., queries, queries + keys - 1)`.

    Each query's row starts one distance before that of the query before it: a view with a shorter stride, no copy.
    """
    batch, heads, _, distances = scores.shape
    strides = (heads * queries * distances, queries * distances, distances - 1, 1)
    return scores.contiguous().as_strided((batch, heads, queries, keys), strides, queries - 1)
