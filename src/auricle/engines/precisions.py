"""Precisions by their names: what weights really have, and what is asked for, for a whole model or for its parts."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from auricle.engines.contract import PRECISIONS
from auricle.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auricle.engines.contract import Precision

REDUCED = frozenset(PRECISIONS) - {"fp32"}

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


def parts_of(name: str) -> dict[str, Precision]:
    """Read `part=precision,part=precision`; raises UsageError for anything else, and for a part that is named twice."""
    parts: dict[str, Precision] = {}
    for each in name.split(","):
        part, _, wanted = each.partition("=")
        precision = next((one for one in PRECISIONS if one == wanted), None)
        if precision is None or not part or part in parts:
            remedy = f"choose one of {', '.join(PRECISIONS)}, or one for each part, such as encoder=fp32,decoder=fp16"
            raise UsageError("unknown precision", name, remedy)
        parts[part] = precision
    return parts


def whole(engine: str, precision: str | None, known: Sequence[Precision] = PRECISIONS) -> Precision | None:
    """Return the precision of a whole model; raises UnsupportedError for one that the engine cannot have as a whole."""
    if precision is None:
        return None
    for one in known:
        if precision == one:
            return one
    raise UnsupportedError(f"{engine} has no such precision", precision, f"use {', '.join(known)}")


def reduced_in(precision: str) -> list[str]:
    """Return the precisions below fp32 in the name of one, such as `fp16+fp32` or `encoder=fp32,decoder=fp16`."""
    return [one for one in re.split("[+,=]", precision) if one in REDUCED]
