"""Linear layers for few rows and for many: what a decoder reads for each token is its weights, so their layout is time.

For one row torch's own product reads a plain weight about as fast as memory gives it; for more rows oneDNN's product
on a weight that is laid out once is faster, several times so for the output layer. So a layer on a CPU may hold both.
A processor without instructions for sixteen bits multiplies them slowly in blocks: there the weight is widened for each
product of several rows, into memory that all layers share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

Layout = Literal["plain", "packed", "both"]

WIDENED = 1 << 22
"""Numbers of a weight that are widened at once: 16 MB in single precision."""

_PACK, _APPLY = "_reorder_linear_weight", "_linear_pointwise"


def packs(weight: Tensor) -> bool:
    """Whether oneDNN can lay out this weight for the processor: in single precision, or where it has instructions."""
    mkldnn = torch.ops.mkldnn
    if weight.device.type != "cpu" or not all(hasattr(mkldnn, name) for name in (_PACK, _APPLY)):
        return False
    half = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
    return weight.dtype == torch.float32 or bool(getattr(mkldnn, half[weight.dtype])())


class Scratch:
    """Memory in single precision that weights of sixteen bits are widened into, one at a time."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def widen(self, weight: Tensor) -> Tensor:
        """Return the weight in single precision, valid until the next call."""
        if self._memory.numel() < weight.numel():
            self._memory = torch.empty(weight.numel())
        return self._memory[: weight.numel()].view(weight.shape).copy_(weight)


class Linear:
    """A linear layer that takes and gives single precision and multiplies in the type of its weight."""

    __slots__ = ("_bias", "_packed", "_plain", "_scratch", "dtype", "outputs")

    def __init__(self, weight: Tensor, bias: Tensor | None, layout: Layout, scratch: Scratch) -> None:
        """Take a weight `(outputs, inputs)`, a bias `(outputs,)`, and memory for sixteen bits on a CPU."""
        self.dtype = weight.dtype
        self.outputs = weight.shape[0]
        can_pack = packs(weight)
        wants_packed = can_pack and layout != "plain"
        self._packed = getattr(torch.ops.mkldnn, _PACK)(weight) if wants_packed else None
        self._plain = None if wants_packed and layout == "packed" else weight
        self._bias = bias
        is_slow = weight.device.type == "cpu" and not can_pack and weight.dtype != torch.float32
        self._scratch = scratch if is_slow else None

    @property
    def stored(self) -> Sequence[Tensor]:
        """What the layer holds, of which only type and size can be asked."""
        return [one for one in (self._plain, self._packed, self._bias) if one is not None]

    @property
    def kernel(self) -> str:
        """What multiplies many rows."""
        if self._packed is not None:
            return "onednn-packed"
        return "torch" if self._scratch is None else "torch, widened for several rows"

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x W^T + b`, `(rows, outputs)`, of `(rows, inputs)`, both in single precision."""
        x = x.to(self.dtype)
        if self._packed is not None and (self._plain is None or x.shape[0] > 1):
            out: Tensor = getattr(torch.ops.mkldnn, _APPLY)(x, self._packed, self._bias, "none", [], "")
            return out.float()
        assert self._plain is not None  # noqa: S101  a layer holds one of the two
        if self._scratch is not None and x.shape[0] > 1:
            return self._widened(x.float(), self._plain, self._scratch)
        return functional.linear(x, self._plain, self._bias).float()

    def _widened(self, x: Tensor, weight: Tensor, scratch: Scratch) -> Tensor:
        """Multiply in single precision, some outputs at a time, and round as one row alone is rounded."""
        parts = torch.split(weight, max(1, WIDENED // weight.shape[1]))
        out = torch.cat([functional.linear(x, scratch.widen(part)) for part in parts], dim=-1)
        if self._bias is not None:
            out += self._bias.float()
        return out.to(self.dtype).float()
