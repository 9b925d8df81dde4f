"""Recordings as they go over the wire: converted once, before anything is timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auricle.audio.resample import Resampler
from auricle.client.dialects import HTTP, live
from auricle.client.dialects.openai_http import RATE as HTTP_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.client.dialects.base import Target, WireEncoding

_DTYPES = {"s16le": "<i2", "f32le": "<f4"}


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording of `samples` at `rate` Hz in a dialect's encoding; can be pickled."""

    name: str
    rate: int
    samples: int
    pcm: bytes

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / self.rate


def wire_format(target: Target) -> tuple[int, WireEncoding]:
    """Return the rate in Hz and the encoding in which the target is sent audio."""
    if target.dialect == HTTP:
        return target.rate or HTTP_RATE, "s16le"
    dialect = live(target.dialect)
    return target.rate or dialect.default_rate, dialect.encoding


def encode(samples: NDArray[np.float32], encoding: WireEncoding) -> bytes:
    """Return samples in [-1, 1] as bytes; 16-bit ones come back as they were."""
    if encoding == "s16le":
        samples = np.clip(np.round(samples * np.float32(32768)), -32768, 32767)
    return samples.astype(_DTYPES[encoding]).tobytes()


def make_clip(audio: Audio, target: Target, name: str | None = None) -> Clip:
    """Prepare a recording for a target."""
    rate, encoding = wire_format(target)
    resampler = Resampler(audio.rate, rate)
    samples = np.concatenate([resampler.feed(audio.samples), resampler.finish()])
    return Clip(name or audio.source, rate, len(samples), encode(samples, encoding))
