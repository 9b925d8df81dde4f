"""The Emformer: segments of frames that see each other, the next segment's first frames, and a bounded past.

A segment is `RIGHT + SEGMENT` rows: its right context first, then its own frames (https://arxiv.org/abs/2010.10759,
without memory, as `emformer_rnnt_base` is). Every layer computes both, for the right context is not the next segment's
first frame: it sees less. There are no positions, so keys and values may be kept in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.emformer.config import HEADS, LEFT, RIGHT, SEGMENT, STRIDE
from auricle.tensors.packed import PackedLinear

if TYPE_CHECKING:
    from auricle.emformer.config import Config

SEEN = LEFT + SEGMENT + RIGHT
"""So many keys a query sees at most."""


class Past(Protocol):
    """Keys and values of what came before segments, one layer after another."""

    @property
    def mask(self) -> Tensor | None:
        """What is added to the scores of keys, `(segments, 1, 1, SEEN)`: minus infinity where there is none."""
        ...

    def seen(self, layer: int, projected: Tensor) -> Tensor:
        """Return keys and values of all that segments see, `(segments, SEEN, 2 * width)`, and keep what is needed.

        `projected` is of the segments themselves, `(segments, RIGHT + SEGMENT, 2 * width)`.
        """
        ...


class Attention(nn.Module):
    """Attention over several heads with the weights of one layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.emb_to_key_value = nn.Linear(width, 2 * width)
        self.emb_to_query = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def fuse(self) -> None:
        """Make one product of the three projections, with queries scaled already."""
        query, rest = self.emb_to_query, self.emb_to_key_value
        scale = (query.in_features // HEADS) ** -0.5
        weight, bias = torch.cat((query.weight * scale, rest.weight)), torch.cat((query.bias * scale, rest.bias))
        self.projection = PackedLinear(weight, bias)
        del self.emb_to_query, self.emb_to_key_value

    def forward(self, x: Tensor, layer: int, past: Past) -> Tensor:
        """Return what segments `(segments, rows, width)` attend to."""
        segments, rows, width = x.shape
        projected: Tensor = self.projection(x)
        queries = projected[..., :width].view(segments, rows, HEADS, -1).transpose(1, 2)
        seen = past.seen(layer, projected[..., width:]).view(segments, SEEN, 2, HEADS, -1)
        keys, values = seen[:, :, 0].transpose(1, 2), seen[:, :, 1].transpose(1, 2)
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=past.mask, scale=1.0)
        out: Tensor = self.out_proj(found.transpose(1, 2).reshape(segments, rows, width))
        return out


class Layer(nn.Module):
    """One layer, under torchaudio's names."""

    def __init__(self, width: int, feedforward: int) -> None:
        super().__init__()
        self.attention = Attention(width)
        # Numbers count the dropout that torchaudio trains with.
        self.pos_ff = nn.ModuleDict(
            {"0": nn.LayerNorm(width), "1": nn.Linear(width, feedforward), "4": nn.Linear(feedforward, width)}
        )
        self.layer_norm_input = nn.LayerNorm(width)
        self.layer_norm_output = nn.LayerNorm(width)

    def forward(self, x: Tensor, layer: int, past: Past) -> Tensor:
        """Return the next layer's `(segments, rows, width)`."""
        x = self.attention(self.layer_norm_input(x), layer, past) + x
        inner = functional.gelu(self.pos_ff["1"](self.pos_ff["0"](x)))
        out: Tensor = self.layer_norm_output(self.pos_ff["4"](inner) + x)
        return out


class Transformer(nn.Module):
    """The layers, under torchaudio's names."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = [Layer(config.width, config.feedforward) for _ in range(config.layers)]
        self.emformer_layers = nn.ModuleList(self.layers)


class Encoder(nn.Module):
    """From features to encoder frames."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.input_linear = nn.Linear(config.mels, config.reduced, bias=False)
        self.transformer = Transformer(config)
        self.output_linear = nn.Linear(config.width, config.joint)
        self.layer_norm = nn.LayerNorm(config.joint)

    def fuse(self) -> None:
        """Make one product of those that take the same input."""
        for layer in self.layers:
            layer.attention.fuse()

    @property
    def layers(self) -> list[Layer]:
        """The layers in order."""
        return list(self.transformer.layers)

    def reduced(self, features: Tensor) -> Tensor:
        """Return `(..., frames // STRIDE, width)` of features `(..., frames, mels)`; what is left over is dropped."""
        whole = features[..., : features.shape[-2] // STRIDE * STRIDE, :]
        out: Tensor = self.input_linear(whole)
        return out.reshape(*out.shape[:-2], -1, STRIDE * out.shape[-1])

    def forward(self, segments: Tensor, past: Past) -> Tensor:
        """Return encoder frames `(segments, SEGMENT, joint)` of segments `(segments, RIGHT + SEGMENT, width)`."""
        x = segments
        for index, layer in enumerate(self.layers):
            x = layer(x, index, past)
        out: Tensor = self.layer_norm(self.output_linear(x[:, RIGHT:]))
        return out


def hidden(absent: Tensor) -> Tensor | None:
    """Return the mask of keys `(segments, SEEN)` that are absent, None where all are there."""
    if not bool(absent.any()):
        return None
    return torch.zeros_like(absent, dtype=torch.float32).masked_fill_(absent, -torch.inf)[:, None, None]
