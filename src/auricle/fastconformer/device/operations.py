"""The operations of a step that are not matrix products: what each must do, and in which form it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from auricle.fastconformer.device.inputs import Inputs
    from auricle.fastconformer.streaming.latency import LatencyClass


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """A layer norm's weight and bias, `(width,)`, and the number that keeps it from dividing by zero."""

    weight: Tensor
    bias: Tensor
    eps: float


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """What attention knows of positions in one latency class.

    `table` holds the projected distances, `(heads, width / heads, distances)`, `bias` the product of the second bias
    of the queries with it, `(heads, distances)`; `content_bias` is the first bias, `(heads, width / heads)`.
    """

    table: Tensor
    bias: Tensor
    content_bias: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """A depthwise convolution over frames: `kernel` `(taps, width)`, `bias` `(width,)`, and the norm after it."""

    kernel: Tensor
    bias: Tensor
    norm: Norm | None


@dataclass(frozen=True, slots=True, eq=False)
class Strided:
    """A convolution of stride 2 over time and bands: `kernel` `(3, 3, channels)` and `bias` `(channels,)`."""

    kernel: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """How scores are read: the blank's index, TDT's durations `(jumps,)`, and how many labels a frame may give."""

    blank: int
    durations: Tensor | None
    max_symbols: int


@dataclass(slots=True, eq=False)
class Walks:
    """Where decoding stands in each row of a block; every tensor stays where it is.

    `projected` are the chunk's frames, `(rows, frames, joint)`, of which `length` are real; `frame` is the next one,
    `emitted` how many labels the frame `last` has given; `label` is what was `found` last; `phrases` is where the row
    stands in its key phrases; `said`, `hidden` and `cells` are the prediction network's.
    """

    projected: Tensor
    length: Tensor
    frame: Tensor
    last: Tensor
    emitted: Tensor
    label: Tensor
    found: Tensor
    phrases: Tensor
    said: Tensor
    hidden: Tensor
    cells: Tensor

    @property
    def unfinished(self) -> Tensor:
        """How many rows have frames left."""
        return (self.frame < self.length).sum(dtype=torch.int32)


FIELDS = 4
"""What is told of a label: its index, or -1 for none; its frame; how many frames it lasts; its probability's bits."""


class Operations(Protocol):
    """Both forms compute the same, but for rounding: that in torch alone on any device, that in Triton on CUDA."""

    def stride(
        self, x: Tensor, state: Tensor, convolution: Strided, inputs: Inputs, first: Tensor, real: Tensor, *, relu: bool
    ) -> Tensor:
        """Return `(batch, time / 2, bands / 2 + 1, channels)` of `x` `(batch, time, bands, 1 or channels)`.

        `state` `(slots, 1 or channels, bands)` holds the row before, and then the last one of `x`. Times, counted from
        `first`, that are not in `[0, real)` are zero.
        """
        ...

    def add_norm(self, x: Tensor, y: Tensor, factor: float, norm: Norm) -> tuple[Tensor, Tensor]:
        """Return `x + factor * y` and its norm, all of shape `(rows, width)`."""
        ...

    def add_norms(self, x: Tensor, y: Tensor, factor: float, norm: Norm, after: Norm) -> tuple[Tensor, Tensor]:
        """Return the norm of `x + factor * y`, and the norm `after` of that."""
        ...

    def attend(
        self, projected: Tensor, places: Places, keys: Tensor, values: Tensor, inputs: Inputs, latency: LatencyClass
    ) -> Tensor:
        """Return the attended frames `(rows, width)` of queries, keys and values side by side, `(rows, 3 * width)`.

        The keys and values of the chunk go into the rings of its slots.
        """
        ...

    def convolve(self, gated: Tensor, taps: Taps, before: Tensor, inputs: Inputs, frames: int) -> Tensor:
        """Return the frames `(rows, width)` after gate, convolution, norm and swish, of `gated` `(rows, 2 * width)`.

        `before` `(slots, taps - 1, width)` holds the gated frames before the chunk, and then its last.
        """
        ...

    def search(self, scores: Tensor, base: Tensor, walks: Walks, rule: Rule, told: Tensor) -> None:
        """Walk each row to its next label, by the scores `(rows, frames, outputs)` of the frames from `base` on.

        Sets what was found, and tells of it in `told`, `(FIELDS, rows)` whole numbers of 32 bits.
        """
        ...

    def recur(self, gates: Tensor, walks: Walks, layer: int) -> Tensor:
        """Return the output `(rows, hidden)` of a recurrent layer; the state of rows that found something moves on."""
        ...


def operations_for(device: torch.device) -> Operations:
    """Return the form for a device: Triton's on CUDA, else torch's; raises ImportError on CUDA without Triton."""
    if device.type == "cuda":
        from auricle.fastconformer.device.triton_operations import TritonOperations

        return TritonOperations()
    from auricle.fastconformer.device.torch_operations import TorchOperations

    return TorchOperations()
