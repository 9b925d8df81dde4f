"""Which graphics card a model fits on: makers' sizes, and what is taken off them."""

from __future__ import annotations

GB = 1_000_000_000
CARDS_GB = {"T4": 16, "L4": 24, "A10": 24, "A100 40 GB": 40, "L40S": 48, "A100 80 GB": 80, "H100": 80, "H200": 141}
"""By size, the smallest first."""

USABLE_SHARE = 0.92
"""What a program is given of a card's memory: the rest is error correction and the driver's."""

CONTEXT_BYTES = GB
"""What CUDA, its libraries and captured graphs take beside tensors."""


def smallest_card(tensor_bytes: int) -> str | None:
    """Return the smallest card on which so many bytes of tensors fit, None when they fit on none."""
    needed = tensor_bytes + CONTEXT_BYTES
    return next((name for name, size in CARDS_GB.items() if needed <= USABLE_SHARE * size * GB), None)
