"""The decoder, a Qwen3 language model: RMS norms, rotary positions, grouped queries, SwiGLU.

What is asked of it comes in three forms that share their layers: `prefill` starts sequences, `extend` goes on where a
cache ends, and `step` reads one token for each row, in shapes that repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from auricle.qwen3.cache import KVCache
    from auricle.qwen3.config import DecoderConfig
    from auricle.qwen3.linear import Linear

    Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]

MODEL = "model.language_model."
MOST_POSITIONS = 8_192
"""Positions that angles are kept for; no recording that is taken at once needs more."""


@dataclass(frozen=True, slots=True)
class _Layer:
    norm: Tensor
    qkv: Linear
    qk_norm: Tensor
    out: Linear
    inner_norm: Tensor
    gate_up: Linear
    down: Linear


class Decoder:
    """Computes hidden states and the next token; what it remembers is in the caches that it is given."""

    def __init__(self, config: DecoderConfig, weights: Mapping[str, Tensor], make: Callable[..., Linear]) -> None:
        """Take the weights by transformers' names, and what makes a linear layer of a weight."""
        self.config = config
        self.embedding = weights[f"{MODEL}embed_tokens.weight"]
        self._head = make(self.embedding)
        self._norm = weights[f"{MODEL}norm.weight"].float()
        self._layers = [_layer(f"{MODEL}layers.{number}.", config, weights, make) for number in range(config.layers)]
        self.positions = min(config.positions, MOST_POSITIONS)
        self._cos, self._sin = (each.to(self.device) for each in _angles(config, self.positions))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of its weights, and of keys and values."""
        return self.embedding.dtype

    @property
    def stored(self) -> list[Tensor]:
        """Everything that the decoder holds."""
        tensors = [self.embedding, self._norm]
        tensors += self._head.stored
        for layer in self._layers:
            tensors += [layer.norm, layer.qk_norm, layer.inner_norm]
            tensors += [each for one in (layer.qkv, layer.out, layer.gate_up, layer.down) for each in one.stored]
        return tensors

    @property
    def kernel(self) -> str:
        """What multiplies its layers' weights."""
        return self._layers[0].qkv.kernel

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the embeddings of tokens, in single precision."""
        return self.embedding[tokens].float()

    def prefill(self, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Return the hidden states of sequences `(rows, positions, width)`, and keys and values of each layer.

        Sequences stand at the left: what fills them up is seen by nothing before it.
        """
        rows, positions, _ = x.shape
        made: list[tuple[Tensor, Tensor]] = []

        def attend(_: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            query, key, value = (each.to(self.dtype).transpose(1, 2) for each in (query, key, value))
            made.append((key, value))
            return functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)

        angles = self._cos[None, :positions], self._sin[None, :positions]
        return self._run(x, rows, positions, angles, attend), made

    def extend(self, x: Tensor, starts: Tensor, cache: KVCache, bound: int) -> Tensor:
        """Return the hidden states of sequences `(rows, positions, width)` that go on at `starts`, `(rows,)`.

        Keys and values are written where they belong, so that those of what fills a sequence up are overwritten by
        what goes on from its end. Attention reads the first `bound` positions.
        """
        rows, positions, _ = x.shape
        group = self.config.heads // self.config.kv_heads
        places = starts[:, None] + torch.arange(positions, device=x.device)
        numbers = torch.arange(rows, device=x.device)[:, None]
        seen = torch.arange(bound, device=x.device) <= places[:, :, None]
        mask = _mask(seen.repeat(1, group, 1), self.dtype)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = cache.keys[layer], cache.values[layer]
            keys[numbers, :, places] = key.to(self.dtype)
            values[numbers, :, places] = value.to(self.dtype)
            grouped = query.to(self.dtype).transpose(1, 2).reshape(rows, self.config.kv_heads, group * positions, -1)
            out = functional.scaled_dot_product_attention(
                grouped, keys[:rows, :, :bound], values[:rows, :, :bound], attn_mask=mask
            )
            return out.reshape(rows, self.config.heads, positions, -1)

        return self._run(x, rows, positions, (self._cos[places], self._sin[places]), attend)

    def step(self, tokens: Tensor, positions: Tensor, cache: KVCache, bound: int) -> tuple[Tensor, Tensor]:
        """Read one token for each row at its position, `(rows,)` each; return the next ones and their scores.

        Its operations and their shapes follow from the number of rows and `bound` alone, which is more than every
        position.
        """
        return self.choose(self.extend(self.embed(tokens)[:, None], positions, cache, bound)[:, 0])

    def choose(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the most likely tokens, `(rows,)`, of hidden states `(rows, width)`, and their scores."""
        scores, tokens = self._head(_normed(hidden, self._norm, self.config.epsilon)).max(dim=-1)
        return tokens, scores

    def _run(self, x: Tensor, rows: int, positions: int, angles: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        config = self.config
        heads, kv_heads, size = config.heads, config.kv_heads, config.head
        cos, sin = (each[:, :, None] for each in angles)
        x = x.reshape(rows * positions, config.width)
        for number, layer in enumerate(self._layers):
            qkv = layer.qkv(_normed(x, layer.norm, config.epsilon)).view(rows, positions, heads + 2 * kv_heads, size)
            turned = functional.rms_norm(qkv[:, :, : heads + kv_heads], (size,), None, config.epsilon) * layer.qk_norm
            low, high = turned.chunk(2, dim=-1)
            turned = turned * cos + torch.cat([-high, low], dim=-1) * sin
            out = attend(number, turned[:, :, :heads], turned[:, :, heads:], qkv[:, :, heads + kv_heads :])
            x = x + layer.out(out.transpose(1, 2).reshape(rows * positions, heads * size))
            gate, up = layer.gate_up(_normed(x, layer.inner_norm, config.epsilon)).chunk(2, dim=-1)
            x = x + layer.down(functional.silu(gate) * up)
        return x.view(rows, positions, config.width)


def _layer(prefix: str, config: DecoderConfig, weights: Mapping[str, Tensor], make: Callable[..., Linear]) -> _Layer:
    def of(name: str) -> Tensor:
        return weights[f"{prefix}{name}.weight"]

    qk_norm = [
        of("self_attn.q_norm").float().expand(config.heads, -1),
        of("self_attn.k_norm").float().expand(config.kv_heads, -1),
    ]
    return _Layer(
        of("input_layernorm").float(),
        make(torch.cat([of(f"self_attn.{name}_proj") for name in "qkv"])),
        torch.cat(qk_norm),
        make(of("self_attn.o_proj")),
        of("post_attention_layernorm").float(),
        make(torch.cat([of("mlp.gate_proj"), of("mlp.up_proj")])),
        make(of("mlp.down_proj")),
    )


def _normed(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    return functional.rms_norm(x, x.shape[-1:], weight, epsilon)


def _mask(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to the scores of attention, `(rows, 1, queries, keys)`."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)[:, None]


def _angles(config: DecoderConfig, positions: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of every position, `(positions, head)` each, of both halves alike."""
    wavelengths = config.theta ** (torch.arange(0, config.head, 2, dtype=torch.float) / config.head)
    angles = torch.outer(torch.arange(positions, dtype=torch.float), 1.0 / wavelengths).repeat(1, 2)
    return angles.cos(), angles.sin()
