"""Long recordings cut at their quietest places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auricle.audio.types import Audio
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

_WINDOW_S = 0.1
_SEARCHED_PART = 1 / 3


def split_at_silence(
    blocks: Iterable[NDArray[np.float32]], rate: int, max_s: float, source: str
) -> Iterator[tuple[float, Audio]]:
    """Cut a recording into pieces of at most `max_s` seconds, in memory that does not grow with its length.

    `blocks` are mono samples in order, `rate` per second. Each piece comes with its start in seconds, and together they
    hold every sample once, in order. A cut lies in the middle of the quietest 100 ms of the last third of `max_s`.
    Raises UsageError when `max_s` is too short for that.
    """
    size, window = int(max_s * rate), round(_WINDOW_S * rate)
    if size * _SEARCHED_PART < window:
        raise UsageError(
            "pieces are too short to be cut at silence", f"{max_s} s", f"use {_WINDOW_S / _SEARCHED_PART:.1f} s or more"
        )
    held = np.empty(0, np.float32)
    start = 0
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > size:
            cut = _quietest(held[:size], window)
            yield start / rate, Audio(held[:cut].copy(), rate, source)
            start, held = start + cut, held[cut:]
    if len(held):
        yield start / rate, Audio(held, rate, source)


def _quietest(samples: NDArray[np.float32], window: int) -> int:
    """Return the middle of the quietest `window` samples in the last part; the latest of several."""
    first = len(samples) - int(len(samples) * _SEARCHED_PART)
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples[first:], dtype=np.float64))])
    sums = energy[window:] - energy[:-window]
    latest = len(sums) - 1 - int(np.argmin(sums[::-1]))
    return first + latest + window // 2
