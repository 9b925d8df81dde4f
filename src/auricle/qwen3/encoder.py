"""The audio encoder: three strided convolutions over chunks of a second, then transformer layers within windows.

A chunk is convolved alone and has positions of its own, and a token sees its window alone. So a window that was
encoded once need not be again, whatever comes after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from auricle.qwen3.linear import Linear, packs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from auricle.qwen3.config import EncoderConfig

TOWER = "model.audio_tower."
PROJECTOR = "model.multi_modal_projector."
CHUNKS_AT_ONCE = 16
"""The first convolution of a chunk gives 6 MB."""

_TIMESCALE = 10_000.0
_EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class _Layer:
    norm: tuple[Tensor, Tensor]
    qkv: Linear
    out: Linear
    inner_norm: tuple[Tensor, Tensor]
    up: Linear
    down: Linear


class Encoder:
    """Computes the tokens of audio, as wide as the decoder; it remembers nothing."""

    def __init__(self, config: EncoderConfig, weights: Mapping[str, Tensor], make: Callable[..., Linear]) -> None:
        """Take the weights by transformers' names, and what makes a linear layer of a weight and a bias."""
        self.config = config

        def of(name: str, tower: str = TOWER) -> tuple[Tensor, Tensor]:
            return weights[f"{tower}{name}.weight"], weights[f"{tower}{name}.bias"]

        self._convolutions = [of(f"conv2d{number}") for number in (1, 2, 3)]
        self._joined = make(weights[f"{TOWER}conv_out.weight"])
        self._positions = _sinusoids(config.chunk_tokens, config.width).to(self._convolutions[0][0].device)
        self._layers = [_layer(f"layers.{number}.", of, make) for number in range(config.layers)]
        self._norm = _single(of("ln_post"))
        self._projector = [make(*of(f"linear_{number}", PROJECTOR)) for number in (1, 2)]

    @property
    def stored(self) -> list[Tensor]:
        """Everything that the encoder holds."""
        linears = [self._joined, *self._projector]
        tensors = [*self._norm, *(each for pair in self._convolutions for each in pair)]
        for layer in self._layers:
            linears += [layer.qkv, layer.out, layer.up, layer.down]
            tensors += [*layer.norm, *layer.inner_norm]
        return [*tensors, *(each for linear in linears for each in linear.stored)]

    def stem(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the tokens, `(tokens, width)`, that convolutions make of features `(mels, frames)`, chunk by chunk."""
        size, config = self.config.chunk, self.config
        padded = [functional.pad(each, (0, -each.shape[1] % size)) for each in features]
        chunks = torch.cat([each.view(len(each), -1, size).transpose(0, 1) for each in padded])
        tokens = torch.cat([self._convolve(part) for part in torch.split(chunks, CHUNKS_AT_ONCE)])
        rows = torch.split(tokens, [each.shape[1] // size for each in padded])
        return [row.flatten(0, 1)[: config.tokens(one.shape[1])] for row, one in zip(rows, features, strict=True)]

    def encode(self, tokens: Sequence[Tensor], window_chunks: int) -> list[Tensor]:
        """Return what the decoder reads, `(tokens, decoder width)`, of what `stem` made, in windows of so many."""
        size = window_chunks * self.config.chunk_tokens
        windows = [len(part) for row in tokens for part in torch.split(row, size)]
        x = torch.cat(list(tokens))
        attend = _Windows(windows, self.config.heads, x.device)
        for layer in self._layers:
            x = x + layer.out(attend(layer.qkv(_normed(x, layer.norm))))
            x = x + layer.down(functional.gelu(layer.up(_normed(x, layer.inner_norm))))
        first, second = self._projector
        x = second(functional.gelu(first(_normed(x, self._norm))))
        return list(torch.split(x, [len(row) for row in tokens]))

    def _convolve(self, chunks: Tensor) -> Tensor:
        """Return `(chunks, tokens, width)` of `(chunks, mels, frames)`."""
        x = chunks[:, None]
        for weight, bias in self._convolutions:
            if weight.device.type == "cpu" and not packs(weight):
                x = functional.conv2d(x.to(weight.dtype).float(), weight.float(), bias.float(), stride=2, padding=1)
            else:
                x = functional.conv2d(x.to(weight.dtype), weight, bias, stride=2, padding=1).float()
            x = functional.gelu(x)
        count, _, _, tokens = x.shape
        rows = x.permute(0, 3, 1, 2).reshape(count * tokens, -1)
        return self._joined(rows).view(count, tokens, -1) + self._positions


class _Windows:
    """Attention of tokens that lie one after the other, each within its window."""

    def __init__(self, lengths: Sequence[int], heads: int, device: torch.device) -> None:
        self._heads = heads
        self._count, self._longest = len(lengths), max(lengths)
        inside = torch.arange(self._longest) < torch.tensor(lengths)[:, None]
        self._all = bool(inside.all())
        self._places = inside.flatten().nonzero().flatten().to(device)
        self._mask = None if self._all else inside[:, None, None].to(device)

    def __call__(self, qkv: Tensor) -> Tensor:
        """Return `(tokens, width)` of `(tokens, 3 * width)`."""
        rows = qkv
        if not self._all:
            rows = qkv.new_zeros(self._count * self._longest, qkv.shape[1])
            rows[self._places] = qkv
        query, key, value = rows.view(self._count, self._longest, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=self._mask)
        out = out.transpose(1, 2).reshape(self._count * self._longest, -1)
        return out if self._all else out[self._places]


def _layer(prefix: str, of: Callable[[str], tuple[Tensor, Tensor]], make: Callable[..., Linear]) -> _Layer:
    attention = f"{prefix}self_attn."
    parts = [of(f"{attention}{name}_proj") for name in "qkv"]
    qkv = make(torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts]))
    return _Layer(
        _single(of(f"{prefix}self_attn_layer_norm")),
        qkv,
        make(*of(f"{attention}out_proj")),
        _single(of(f"{prefix}final_layer_norm")),
        make(*of(f"{prefix}fc1")),
        make(*of(f"{prefix}fc2")),
    )


def _single(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return pair[0].float(), pair[1].float()


def _normed(x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], *norm, _EPSILON)


def _sinusoids(length: int, channels: int) -> Tensor:
    """Return the positions within a chunk, `(length, channels)`: sines, then cosines, of falling frequencies."""
    step = math.log(_TIMESCALE) / (channels // 2 - 1)
    scaled = torch.arange(length)[:, None] * torch.exp(-step * torch.arange(channels // 2).float())
    return torch.cat([scaled.sin(), scaled.cos()], dim=1)
