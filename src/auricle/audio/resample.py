"""Sampling-rate conversion as samples arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


class Resampler:
    """Converts mono float32 from `source_rate` to `rate` Hz piece by piece, clipped to [-1, 1].

    The result does not depend on how the samples were cut into pieces. FFmpeg's converter holds back 1 or 2 ms of audio
    (soxr up to 115 ms, see docs/log.md, 2026-11-20), which a live stream would wait for.
    """

    def __init__(self, source_rate: int, rate: int) -> None:
        self.source_rate = source_rate
        self._converter: Any = None
        self._fed = False
        if source_rate != rate:
            import av

            self._converter = av.AudioResampler(format="fltp", layout="mono", rate=rate)

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the samples that are ready, shape `(samples,)`, perhaps none."""
        if self._converter is None or not len(samples):
            return np.clip(samples, -1.0, 1.0)
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = self.source_rate
        self._fed = True
        return self._joined(self._converter.resample(frame))

    def finish(self) -> NDArray[np.float32]:
        """Return the samples still inside; nothing may be fed after."""
        return self._joined(self._converter.resample(None) if self._fed else [])

    def _joined(self, frames: list[Any]) -> NDArray[np.float32]:
        parts = [np.frombuffer(frame.planes[0], np.float32, frame.samples) for frame in frames]
        joined = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.float32), *parts])
        clipped: NDArray[np.float32] = np.maximum(joined, -1.0)  # np.clip takes twice as long
        return np.minimum(clipped, 1.0, out=clipped)


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
