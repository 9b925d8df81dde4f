"""Binary audio of a live stream to mono float32 at the model's rate, with a short way for what needs no conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from auricle.audio import PcmDecoder
from auricle.audio.pcm import check_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from auricle.audio import PcmFormat

PIECE_BYTES = 1 << 16
_S16, _FLOAT = np.dtype("<i2"), np.dtype("<f4")
_S16_SCALE = np.float32(1 / 32768)
_SAMPLE_BYTES = {"s16le": 2, "f32le": 4}


class LiveDecoder(Protocol):
    """Turns bytes into samples; the result does not depend on how the bytes were cut."""

    def feed(self, data: bytes) -> NDArray[np.float32]:
        """Return the samples that are ready, shape `(samples,)`; raises AudioError for floats that are not audio."""
        ...

    def finish(self) -> NDArray[np.float32]:
        """Return the samples still inside; nothing may be fed after."""
        ...


def live_decoder(pcm: PcmFormat, rate: int) -> LiveDecoder:
    """Return a decoder of `pcm` to mono at `rate` Hz; channels are averaged."""
    if is_direct(pcm, rate):
        return _DirectDecoder(pcm)
    return PcmDecoder(pcm, rate)


def is_direct(pcm: PcmFormat, rate: int) -> bool:
    """Tell whether every sample that comes in is one sample of the model."""
    return pcm.channels == 1 and pcm.rate == rate and pcm.encoding in _SAMPLE_BYTES


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut a large message, so that a session can hold its sender back before all of it is converted."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


class _DirectDecoder:
    """Mono 16-bit or float samples at the model's rate: one conversion, or none; the same samples as PcmDecoder's."""

    def __init__(self, pcm: PcmFormat) -> None:
        self._is_float = pcm.encoding == "f32le"
        self._bytes = _SAMPLE_BYTES[pcm.encoding]
        self._rest = b""

    def feed(self, data: bytes) -> NDArray[np.float32]:
        if self._rest or len(data) % self._bytes:
            data = self._rest + data
            whole = len(data) - len(data) % self._bytes
            data, self._rest = data[:whole], data[whole:]
        if self._is_float:
            return _checked(np.frombuffer(data, _FLOAT))
        return np.multiply(np.frombuffer(data, _S16), _S16_SCALE, dtype=np.float32)

    def finish(self) -> NDArray[np.float32]:
        return np.empty(0, np.float32)


def _checked(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the samples themselves when they lie in [-1, 1], else clipped; raises AudioError as `check_samples`."""
    if not len(samples) or (np.maximum.reduce(samples) <= 1.0 and np.minimum.reduce(samples) >= -1.0):
        return samples
    check_samples(samples, "f32le stream")
    return np.clip(samples, -1.0, 1.0)
