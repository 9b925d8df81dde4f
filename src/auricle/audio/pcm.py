"""Headerless PCM: 16-bit and float little-endian, and the mu-law and A-law of ITU-T G.711."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from auricle.audio.resample import Resampler
from auricle.audio.types import check_rate
from auricle.errors import AudioError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from auricle.audio.types import Encoding, PcmFormat

# Float audio somewhat above full scale is common and clipped; 18 dB above it is another scale or another encoding.
_LARGEST_SAMPLE = 8.0
_S16, _S16_SCALE = np.dtype("<i2"), np.float32(1 / 32768)


class PcmDecoder:
    """Raw PCM of a live stream to mono float32 at `rate` Hz; the result does not depend on how the bytes were cut.

    Channels are averaged, or the one numbered `channel` from 0 is taken.
    Raises UsageError when there is no such channel or the rate is unusable.
    """

    def __init__(self, pcm: PcmFormat, rate: int, channel: int | None = None) -> None:
        check_rate(rate)
        if channel is not None and not 0 <= channel < pcm.channels:
            raise UsageError("no such channel", channel, f"the PCM has {pcm.channels}, numbered from 0")
        self._format = pcm
        self._channel = channel
        self._convert, self._frame_bytes = _CONVERTERS[pcm.encoding]
        self._frame_bytes *= pcm.channels
        self._rest = b""
        self._resampler = Resampler(pcm.rate, rate)

    def feed(self, data: bytes) -> NDArray[np.float32]:
        """Return the samples that are ready, shape `(samples,)`; raises AudioError for floats that are not audio."""
        data = self._rest + data
        whole = len(data) - len(data) % self._frame_bytes
        self._rest = data[whole:]
        samples = self._convert(data[:whole])
        if self._format.encoding == "f32le":
            check_samples(samples, "f32le stream")
        if self._format.channels > 1:
            samples = mono(samples.reshape(-1, self._format.channels), self._channel)
        return self._resampler.feed(samples)

    def finish(self) -> NDArray[np.float32]:
        """Return the samples still inside; bytes that do not fill a sample of every channel are dropped."""
        return self._resampler.finish()


def mono(samples: NDArray[np.float32], channel: int | None) -> NDArray[np.float32]:
    """Reduce shape `(samples, channels)` to `(samples,)`: the mean of the channels, or one of them."""
    if channel is not None or samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, channel or 0])
    mean: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    return mean


def check_samples(samples: NDArray[np.float32], source: str) -> None:
    """Raise AudioError when a sample is not a number, is infinite or is far above full scale."""
    peak = np.abs(samples).max(initial=0.0)
    if not peak <= _LARGEST_SAMPLE:
        remedy = "float samples must lie in [-1, 1]; scale or repair them, or state their true encoding"
        raise AudioError("samples are not audio", f"{source} (found {peak:g})", remedy)


def integers_to_float(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Scale integers to [-1, 1), full scale being 2^(bits-1), which is the zero of unsigned ones."""
    full_scale = np.float32(1 << 8 * values.dtype.itemsize - 1)
    samples = values.astype(np.float32)
    return (samples if values.dtype.kind == "i" else samples - full_scale) / full_scale


def _s16le(data: bytes) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = np.multiply(np.frombuffer(data, _S16), _S16_SCALE, dtype=np.float32)
    return samples


def _f32le(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<f4").astype(np.float32)


def _mulaw(data: bytes) -> NDArray[np.float32]:
    return _mulaw_table()[np.frombuffer(data, np.uint8)]


def _alaw(data: bytes) -> NDArray[np.float32]:
    return _alaw_table()[np.frombuffer(data, np.uint8)]


_CONVERTERS: dict[Encoding, tuple[Callable[[bytes], NDArray[np.float32]], int]] = {
    "s16le": (_s16le, 2),
    "f32le": (_f32le, 4),
    "mulaw": (_mulaw, 1),
    "alaw": (_alaw, 1),
}


@cache
def _mulaw_table() -> NDArray[np.float32]:
    code = ~np.arange(256, dtype=np.uint8).astype(np.int32)
    exponent, mantissa = code >> 4 & 7, code & 15
    magnitude = ((2 * mantissa + 33) << exponent + 2) - 132
    return (np.where(code & 128, -magnitude, magnitude) / 32768).astype(np.float32)


@cache
def _alaw_table() -> NDArray[np.float32]:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = code >> 4 & 7, code & 15
    magnitude = np.where(exponent == 0, 2 * mantissa + 1, (2 * mantissa + 33) << np.maximum(exponent - 1, 0)) << 3
    return (np.where(code & 128, magnitude, -magnitude) / 32768).astype(np.float32)
