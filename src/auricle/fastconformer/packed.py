"""Linear layers whose weights are laid out once for the processor's widest vectors.

torch multiplies float32 matrices on a CPU with MKL, which holds back on processors other than Intel's; oneDNN, which
torch carries too, does not, and can lay out a weight once instead of at every call.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Kernel = Literal["onednn-packed", "torch"]

_PACK, _APPLY = "_reorder_linear_weight", "_linear_pointwise"


def kernel_for(weight: Tensor) -> Kernel:
    """Return what runs a linear layer of this weight: oneDNN on a packed copy, or torch's own `linear`.

    Only float32 on a CPU is packed, and only by a torch that was built with the operators.
    """
    packable = weight.device.type == "cpu" and weight.dtype == torch.float32
    return "onednn-packed" if packable and all(hasattr(torch.ops.mkldnn, name) for name in (_PACK, _APPLY)) else "torch"


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

    def forward(self, x: Tensor) -> Tensor:
        """Return `x W^T + b`, `(..., outputs)`, of `(..., inputs)`; raise RuntimeError for another width or type."""
        if self.kernel == "torch":
            return functional.linear(x, self._weight, self._bias)
        out: Tensor = getattr(torch.ops.mkldnn, _APPLY)(x, self._weight, self._bias, "none", [], "")
        return out


def pack(module: nn.Module, *kinds: type[nn.Linear | nn.Conv1d]) -> None:
    """Replace every layer of these kinds inside a module, in place, letting go of its weight as the copy is made."""
    # The iterator itself would hold on to every child until its end.
    for name in [name for name, _ in module.named_children()]:
        child = module.get_submodule(name)
        if isinstance(child, kinds):
            setattr(module, name, PackedLinear(child.weight, child.bias))
        else:
            pack(child, *kinds)
