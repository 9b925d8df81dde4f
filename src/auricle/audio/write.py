"""Audio files written whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from auricle.audio.pcm import check_samples
from auricle.errors import UsageError
from auricle.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.audio.types import Audio

_FORMATS = {
    ".wav": ("wav", "pcm_s16le"),
    ".flac": ("flac", "flac"),
    ".ogg": ("ogg", "libopus"),
    ".opus": ("ogg", "libopus"),
}
_OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
_CHUNK_SAMPLES = 1 << 16


def save(audio: Audio, path: Path) -> None:
    """Write `audio` as 16-bit WAV or FLAC, or as Opus in Ogg, by the extension of `path`, reproducibly.

    Raises UsageError for another extension or a rate that Opus does not have, AudioError for samples out of range.
    """
    import av

    container_format, codec = _FORMATS.get(path.suffix.lower(), ("", ""))
    if not codec:
        raise UsageError("audio cannot be written with this extension", path, f"use one of {', '.join(_FORMATS)}")
    if codec == "libopus" and audio.rate not in _OPUS_RATES_HZ:
        raise UsageError("Opus has no such sampling rate in Hz", audio.rate, f"use one of {_OPUS_RATES_HZ}")
    with (
        atomic_path(path) as temporary,
        temporary.open("w+b") as file,
        av.open(file, "w", format=container_format, options={"fflags": "+bitexact"}) as container,
    ):
        stream = cast("av.AudioStream", container.add_stream(codec, rate=audio.rate, layout="mono"))
        for first in range(0, len(audio.samples), _CHUNK_SAMPLES):
            samples = audio.samples[np.newaxis, first : first + _CHUNK_SAMPLES]
            check_samples(samples, audio.source)
            integers = np.clip(np.round(samples * np.float32(32768)), -32768, 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(integers, "s16", "mono")
            frame.sample_rate, frame.pts = audio.rate, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
