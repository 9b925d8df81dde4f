"""Sampling-rate conversion as samples arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


class Resampler:
    """Converts mono float32 from `source_rate` to `rate` Hz piece by piece, without delay, clipped to [-1, 1].

    The result does not depend on how the samples were cut into pieces.
    """

    def __init__(self, source_rate: int, rate: int) -> None:
        self.source_rate = source_rate
        self._stream: Any = None
        if source_rate != rate:
            import soxr

            self._stream = soxr.ResampleStream(source_rate, rate, 1, dtype="float32")

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the samples that are ready, shape `(samples,)`, perhaps none."""
        return self._convert(samples, is_last=False)

    def finish(self) -> NDArray[np.float32]:
        """Return the samples still inside; nothing may be fed after."""
        return self._convert(np.empty(0, np.float32), is_last=True)

    def _convert(self, samples: NDArray[np.float32], *, is_last: bool) -> NDArray[np.float32]:
        if self._stream is not None:
            samples = self._stream.resample_chunk(samples, last=is_last)
        return np.clip(samples, -1.0, 1.0)


def reblock(pieces: Iterable[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """Cut the concatenation of `pieces` into arrays of `size` samples; the last may be shorter, none is empty."""
    held: list[NDArray[np.float32]] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count >= size:
            joined = np.concatenate(held)
            whole = count - count % size
            yield from joined[:whole].reshape(-1, size)
            held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)
