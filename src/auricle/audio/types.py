"""What audio is in Auricle: samples in memory, what a file declares, and the formats of headerless PCM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from auricle.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000
MIN_RATE_HZ = 1_000
MAX_RATE_HZ = 768_000
MAX_CHANNELS = 64

Encoding = Literal["s16le", "f32le", "mulaw", "alaw"]


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Mono samples in [-1, 1], shape `(samples,)` float32, `rate` of them per second; `source` names them in errors."""

    samples: NDArray[np.float32]
    rate: int
    source: str = "<memory>"

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the best audio stream of a file declares; `duration_s` is the container's claim, None when it makes none."""

    container: str
    codec: str
    rate: int
    channels: int
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Headerless interleaved PCM, `rate` frames of `channels` samples per second; raises UsageError when malformed."""

    encoding: Encoding
    rate: int
    channels: int = 1

    def __post_init__(self) -> None:
        if self.encoding not in get_args(Encoding):
            raise UsageError("unknown PCM encoding", self.encoding, f"use one of {', '.join(get_args(Encoding))}")
        check_rate(self.rate)
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise UsageError("unusable channel count", self.channels, f"use 1 to {MAX_CHANNELS}")


def check_rate(rate: int) -> None:
    """Raise UsageError unless `rate` is a sampling rate that can be asked for, in Hz."""
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise UsageError("unusable sampling rate in Hz", rate, f"use {MIN_RATE_HZ} to {MAX_RATE_HZ}")
