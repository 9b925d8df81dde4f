"""What precision weights really have, named from their types."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

NEGLIGIBLE_SHARE = 0.01
_PRECISIONS = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    **dict.fromkeys(("int8", "uint8", "int4", "uint4"), "int8"),
}


class Group(Protocol):
    """Weights of one data type."""

    @property
    def dtype(self) -> str:
        """Such as `float32`."""
        ...

    @property
    def bytes(self) -> int:
        """What they take."""
        ...


def precision_of(weights: Iterable[Group]) -> str:
    """Name the precisions that take more than one byte in a hundred, joined by `+`, the largest first."""
    sizes: Counter[str] = Counter()
    for group in weights:
        if group.dtype in _PRECISIONS:
            sizes[_PRECISIONS[group.dtype]] += group.bytes
    least = NEGLIGIBLE_SHARE * sizes.total()
    return "+".join(name for name, size in sizes.most_common() if size > least) or "fp32"
