"""Recordings made in memory with encoders that are not under test."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


def _encode(
    muxer: str, encoder: str, samples: NDArray[np.int16], rate: int = 16_000, options: dict[str, str] | None = None
) -> bytes:
    """Encode 16-bit samples of shape `(samples, channels)` or `(samples,)` into the bytes of a file."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    file = io.BytesIO()
    with av.open(file, "w", format=muxer, options=options) as container:
        stream = container.add_stream(encoder, rate=rate, layout=_LAYOUTS[channels])
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", _LAYOUTS[channels])
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _tone(frequency_hz: float, seconds: float, rate: int = 16_000, peak: float = 0.5) -> NDArray[np.int16]:
    """Make a sine of `peak` of full scale, shape `(samples,)`."""
    time_s = np.arange(round(seconds * rate)) / rate
    return np.round(32768 * peak * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.int16)


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Encode 16-bit samples: `encode(muxer, encoder, samples, rate, options)`."""
    return _encode


@pytest.fixture(scope="session")
def tone() -> Callable[..., NDArray[np.int16]]:
    """Make a sine: `tone(frequency_hz, seconds, rate, peak)`."""
    return _tone
