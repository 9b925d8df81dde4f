"""Sampling-rate conversion as samples arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.audio.polyphase import Polyphase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


class Resampler:
    """Converts mono float32 from `source_rate` to `rate` Hz piece by piece, clipped to [-1, 1].

    The result does not depend on how the samples were cut into pieces, and 1 to 3 ms of audio are held back, which a
    live stream would wait for (soxr up to 115 ms). Ratios of few phases go our own way, others FFmpeg's, which costs a
    live stream 0.2 MB and several times the CPU (docs/log.md, 2026-11-20).
    """

    def __init__(self, source_rate: int, rate: int) -> None:
        self.source_rate = source_rate
        self._converter: Polyphase | _FFmpeg | None = None
        if source_rate != rate:
            self._converter = (Polyphase if Polyphase.suits(source_rate, rate) else _FFmpeg)(source_rate, rate)

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the samples that are ready, shape `(samples,)`, perhaps none."""
        return _clipped(samples if self._converter is None or not len(samples) else self._converter.feed(samples))

    def finish(self) -> NDArray[np.float32]:
        """Return the samples still inside; nothing may be fed after."""
        return np.empty(0, np.float32) if self._converter is None else _clipped(self._converter.finish())


class _FFmpeg:
    """Converts between any rates."""

    def __init__(self, source_rate: int, rate: int) -> None:
        import av

        self._rate = source_rate
        self._converter = av.AudioResampler(format="fltp", layout="mono", rate=rate)
        self._fed = False

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = self._rate
        self._fed = True
        return _joined(self._converter.resample(frame))

    def finish(self) -> NDArray[np.float32]:
        return _joined(self._converter.resample(None) if self._fed else [])


def _joined(frames: list[Any]) -> NDArray[np.float32]:
    parts = [np.frombuffer(frame.planes[0], np.float32, frame.samples) for frame in frames]
    return np.concatenate([np.empty(0, np.float32), *parts])


def _clipped(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    clipped: NDArray[np.float32] = samples.clip(-1.0, 1.0)  # half the time of np.clip
    return clipped


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
