"""Linear layers whose weights are laid out once for the processor's widest vectors.

torch multiplies float32 matrices on a CPU with MKL, which does not use the 512-bit vectors of other processors than
Intel's; oneDNN, which torch carries too, does, and can lay out a weight once instead of at every call. With vectors of
256 bits that pays for large weights and few rows alone, and small ones are left to MKL, whose calls cost less
(docs/log.md).
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Kernel = Literal["onednn-packed", "onednn-int8", "onednn-int8-of-7-bits", "torch", "torch-int8-weights"]

_PACK, _APPLY = "_reorder_linear_weight", "_linear_pointwise"
_PACK_INT8, _APPLY_INT8 = "qlinear_prepack", "qlinear_pointwise"
_LARGE = 512 * 512
"""Numbers of a weight from which packing pays with vectors of 256 bits."""
_LARGEST = 127
_LARGEST_NARROW = 63
"""The largest whole number of a weight of seven bits: two products with it do not saturate sixteen bits."""
_ZERO = 128
"""What stands for zero in an input: oneDNN is slow by a factor of a thousand for inputs with a sign."""


def kernel_for(weight: Tensor) -> Kernel:
    """Return what runs a linear layer of this weight: oneDNN on a packed copy, or torch's own `linear`.

    Only what a CPU multiplies itself is packed, and only by a torch that was built with the operators.
    """
    has_operators = all(hasattr(torch.ops.mkldnn, name) for name in (_PACK, _APPLY))
    if weight.device.type != "cpu" or not has_operators:
        return "torch"
    is_worth_it = torch.backends.cpu.get_cpu_capability() != "AVX2" or weight.numel() >= _LARGE
    known = {torch.float32: is_worth_it, torch.bfloat16: _has("bf16"), torch.float16: _has("fp16")}
    return "onednn-packed" if known.get(weight.dtype) else "torch"


def _has(precision: str) -> bool:
    """Whether oneDNN multiplies numbers of sixteen bits on this processor."""
    return bool(getattr(torch.ops.mkldnn, f"_is_mkldnn_{precision}_supported")())


class PackedLinear(nn.Module):
    """A linear layer for inference; `kernel` says what runs it.

    For a given number of rows, the result of a row depends on that row alone, bit for bit. Where packed, the weight
    given can be dropped: nothing refers to it. The packed one is not in the state dict and cannot move to a device.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Take a weight `(outputs, inputs)`, or that of a convolution over one frame, and a bias `(outputs,)`."""
        super().__init__()
        self.kernel: Kernel = kernel_for(weight)
        weight = weight.detach().flatten(1)
        self._weight = getattr(torch.ops.mkldnn, _PACK)(weight) if self.kernel == "onednn-packed" else weight
        self._bias = None if bias is None else bias.detach()

    @property
    def stored(self) -> Sequence[Tensor]:
        """The weight and the bias, of which only type and size can be asked."""
        return [self._weight] if self._bias is None else [self._weight, self._bias]

    def forward(self, x: Tensor) -> Tensor:
        """Return `x W^T + b`, `(..., outputs)`, of `(..., inputs)`; raise RuntimeError for another width or type."""
        if self.kernel == "torch":
            return functional.linear(x.contiguous(), self._weight, self._bias)
        out: Tensor = getattr(torch.ops.mkldnn, _APPLY)(x, self._weight, self._bias, "none", [], "")
        return out


class QuantisedLinear(nn.Module):
    """A linear layer of eight-bit whole numbers: one scale for each row of the weight, one for each row of the input.

    Products are added exactly, so the result of a row depends on that row alone, bit for bit, in any company. Where the
    processor adds pairs of products in sixteen bits, for want of VNNI, weights have seven bits, and `kernel` says so.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Take a weight and a bias as `PackedLinear` does; raises UnsupportedError where int8 cannot be computed."""
        super().__init__()
        on_cpu = weight.device.type == "cpu"
        largest = largest_weight() if on_cpu else _LARGEST
        self.kernel: Kernel = "onednn-int8" if largest == _LARGEST else "onednn-int8-of-7-bits"
        whole, scales = rounded(weight.detach().flatten(1), largest)
        whole = whole.to(torch.int8)
        self._scales = scales.flatten()
        self._zeros = torch.zeros_like(self._scales, dtype=torch.int32)
        self._weight = whole
        if on_cpu:
            self._weight = getattr(torch.ops.onednn, _PACK_INT8)(whole, None)
        self._bias = None if bias is None else bias.detach()

    @property
    def stored(self) -> Sequence[Tensor]:
        """The weight, its scales and the bias, of which only type and size can be asked."""
        return [self._weight, self._scales, *([] if self._bias is None else [self._bias])]

    def forward(self, x: Tensor) -> Tensor:
        """Return `x W^T + b` in single precision, `(..., outputs)`, of `(..., inputs)`."""
        outputs = len(self._scales)
        if not x.numel():
            return x.new_empty(*x.shape[:-1], outputs)
        whole, scales = rounded(x.reshape(-1, x.shape[-1]))
        product = _multiply(whole.add_(_ZERO).to(torch.uint8), self._weight, self._scales, self._zeros).mul_(scales)
        if self._bias is not None:
            product += self._bias
        return product.view(*x.shape[:-1], outputs)


def largest_weight() -> int:
    """Return the largest whole number that a weight may hold here, 127 or 63.

    Raises UnsupportedError where torch or the processor cannot multiply eight-bit numbers exactly.
    """
    missing = [name for name in (_PACK_INT8, _APPLY_INT8) if not hasattr(torch.ops.onednn, name)]
    largest = None if missing else next(filter(_adds_exactly, (_LARGEST, _LARGEST_NARROW)), None)
    if largest is None:
        why = "this torch lacks an operator" if missing else "this processor adds their products with saturation"
        what = f"eight-bit numbers cannot be multiplied here: {why}"
        raise UnsupportedError(what, ", ".join(missing) or torch.backends.cpu.get_cpu_capability(), "use fp32 or bf16")
    return largest


@cache
def _adds_exactly(largest: int) -> bool:
    """Try the largest products: without VNNI, pairs of them are added in sixteen bits."""
    inputs = 64
    weight = torch.full((inputs, inputs), largest, dtype=torch.int8)
    x = torch.full((inputs, inputs), _ZERO + _LARGEST, dtype=torch.uint8)
    packed = getattr(torch.ops.onednn, _PACK_INT8)(weight, None)
    product = _multiply(x, packed, torch.ones(inputs), torch.zeros(inputs, dtype=torch.int32))
    return bool((product == inputs * _LARGEST * largest).all())


def _multiply(x: Tensor, weight: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """Return the product of whole numbers from 0 to 255, `(rows, inputs)`, with a packed weight, times its scales."""
    out: Tensor = getattr(torch.ops.onednn, _APPLY_INT8)(
        x, 1.0, _ZERO, weight, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return out


def rounded(x: Tensor, largest: int = _LARGEST) -> tuple[Tensor, Tensor]:
    """Return `(rows, columns)` as whole numbers up to `largest` and their scales, `(rows, 1)`."""
    scales = torch.linalg.vector_norm(x, math.inf, dim=1, keepdim=True).clamp_(min=torch.finfo(x.dtype).tiny) / largest
    return (x / scales).round_(), scales


def pack(
    module: nn.Module,
    *kinds: type[nn.Linear | nn.Conv1d],
    form: Callable[[Tensor, Tensor | None], nn.Module] = PackedLinear,
) -> None:
    """Replace every layer of these kinds inside a module, in place, letting go of its weight as the copy is made."""
    # The iterator itself would hold on to every child until its end.
    for name in [name for name, _ in module.named_children()]:
        child = module.get_submodule(name)
        if isinstance(child, kinds):
            setattr(module, name, form(child.weight, child.bias))
        else:
            pack(child, *kinds, form=form)
