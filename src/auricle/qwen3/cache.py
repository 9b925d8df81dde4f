"""The keys and values of a batch: memory of a fixed size, filled from the left in each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from auricle.qwen3.config import DecoderConfig

BLOCK = 128
"""Capacities and the bounds of attention are multiples of it, so that few shapes occur."""


class KVCache:
    """Keys and values, `(layers, rows, kv_heads, capacity, head)` each; who writes knows where each row ends."""

    __slots__ = ("keys", "values")

    def __init__(
        self, config: DecoderConfig, rows: int, capacity: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (config.layers, rows, config.kv_heads, rounded(capacity), config.head)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)

    @property
    def rows(self) -> int:
        """How many sequences it holds."""
        return self.keys.shape[1]

    @property
    def capacity(self) -> int:
        """How many positions each row has."""
        return self.keys.shape[3]

    def fill(self, layers: list[tuple[Tensor, Tensor]]) -> int:
        """Copy what a prefill made, `(rows, kv_heads, positions, head)` for each layer, to the start of the first rows.

        Returns the bytes that were copied.
        """
        copied = 0
        for keys, values, (new_keys, new_values) in zip(self.keys, self.values, layers, strict=True):
            rows, _, positions, _ = new_keys.shape
            keys[:rows, :, :positions] = new_keys
            values[:rows, :, :positions] = new_values
            copied += 2 * new_keys.numel() * keys.element_size()
        return copied


def rounded(positions: int) -> int:
    """Return the smallest multiple of BLOCK that holds so many positions."""
    return -(-positions // BLOCK) * BLOCK


def cache_bytes(config: DecoderConfig, rows: int, positions: int, bytes_per_value: int) -> int:
    """Return what a cache for so many rows and positions takes."""
    return rows * rounded(positions) * config.kv_values * bytes_per_value
