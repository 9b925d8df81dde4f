"""In which type of number each part of a model is kept and computed.

    part                                       fp32   bf16   fp16   int8
    features                                   fp32   fp32   fp32   fp32
    linear layers of the encoder's layers      fp32   bf16   fp16   int8, with scales in fp32
    the encoder's other layers                 fp32   bf16   fp16   fp32
    batch norms, which are statistics          fp32   fp32   fp32   fp32
    what live streams keep of the encoder      fp32   bf16   fp16   fp32
    decoders, and what they keep of a stream   fp32   fp32   fp32   fp32

int8 is dynamic: a row of a weight has one scale, and so has every frame that it is multiplied with, so that a frame
does not depend on its neighbours. On a device it is of weights alone, and all the rest is as in bf16 (`device.int8`).
Pointwise convolutions are linear layers. Decoders are a hundredth of a large model: in sixteen bits the scores of
labels that are close become equal, and the first of them would be said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from auricle.errors import ModelError

if TYPE_CHECKING:
    from auricle.fastconformer.network import Network

Precision = Literal["fp32", "bf16", "fp16", "int8"]

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.float32,
}
"""What an encoder computes in between its quantised layers, and keeps of live streams."""


def cast(network: Network, precision: Precision) -> None:
    """Bring the weights of a network to the type that the precision gives them, in place, each on its own.

    Raises ModelError naming a weight that is not finite, or that the type cannot hold.
    """
    smaller = {module for module in network.encoder.modules() if not isinstance(module, nn.BatchNorm1d)}
    for name, module in network.named_modules():
        dtype = DTYPES[precision] if module in smaller else torch.float32
        for key, parameter in module.named_parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
            _check_finite(f"{name}.{key}", parameter.data, precision)
        for key, value in module.named_buffers(recurse=False):
            _check_finite(f"{name}.{key}", value, precision)


def _check_finite(key: str, value: torch.Tensor, precision: Precision) -> None:
    if value.is_meta or not value.is_floating_point() or not value.numel():
        return
    low, high = value.aminmax()
    if not bool((high - low).isfinite()) and not bool(value.isfinite().all()):
        what = f"a weight holds numbers that are not finite in {precision}"
        remedy = "get the archive again" if precision != "fp16" else "use bf16 or fp32: fp16 holds nothing above 65,504"
        raise ModelError(what, key, remedy)
