"""In which type of number each part of a model is kept and computed.

    part                                              fp32   bf16   fp16
    mel features, convolutions' input                 fp32   fp32   fp32
    encoder: convolutions and linear layers           fp32   bf16   fp16
    decoder: linear layers, embedding, output layer   fp32   bf16   fp16
    decoder: keys and values in the cache             fp32   bf16   fp16
    norms, rotary angles, softmax, GELU and SwiGLU,
    sums of residual branches, scores of labels       fp32   fp32   fp32

Encoder and decoder each have a precision of their own, so `encoder=fp32,decoder=fp16` halves the decoder alone. A
product that overflows is infinite; the loop refuses scores that are not finite by name instead of printing a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from auricle.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

KEPT_IN_FP32 = "norms, rotary angles, softmax, activations, residual sums and scores"
"""What is in single precision whatever the weights are."""


@dataclass(frozen=True, slots=True)
class Precisions:
    """The precision of each part."""

    encoder: Precision = "fp32"
    decoder: Precision = "fp32"

    @property
    def is_reduced(self) -> bool:
        """Whether either part is smaller than single precision."""
        return (self.encoder, self.decoder) != ("fp32", "fp32")

    def __str__(self) -> str:
        if self.encoder == self.decoder:
            return self.encoder
        return f"encoder={self.encoder},decoder={self.decoder}"


def check_finite(weights: Mapping[str, torch.Tensor], precision: Precision) -> None:
    """Raise ModelError naming a weight that is not finite in a precision."""
    for key, value in weights.items():
        low, high = value.to(DTYPES[precision]).aminmax()
        if not bool((high - low).float().isfinite()):
            remedy = "use bf16 or fp32: fp16 holds nothing above 65,504" if precision == "fp16" else "get it again"
            raise ModelError(f"a weight holds numbers that are not finite in {precision}", key, remedy)
