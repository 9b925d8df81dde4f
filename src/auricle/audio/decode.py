"""Any recording to mono float32 at the rate asked for, whole or block by block in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from auricle.audio.frames import frames
from auricle.audio.pcm import PcmDecoder, mono
from auricle.audio.resample import Resampler, reblock
from auricle.audio.source import opened, source_name
from auricle.audio.types import SAMPLE_RATE, Audio, check_rate
from auricle.errors import AudioError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from auricle.audio.source import Reader
    from auricle.audio.types import PcmFormat

_READ_BYTES = 1 << 16


def load(
    source: Path | str | BinaryIO,
    rate: int = SAMPLE_RATE,
    *,
    channel: int | None = None,
    pcm: PcmFormat | None = None,
    max_s: float | None = None,
) -> Audio:
    """Decode a whole recording into memory; arguments and errors as for `blocks`.

    Raises AudioError as soon as the audio proves longer than `max_s` seconds, whatever its header declares.
    """
    buffer = bytearray()
    limit = None if max_s is None else 4 * round(max_s * rate)
    for block in blocks(source, rate, channel=channel, pcm=pcm):
        buffer += block.tobytes()
        if limit is not None and len(buffer) > limit:
            raise AudioError(f"audio is longer than {max_s:g} s", source_name(source), "cut it, or raise the limit")
    return Audio(np.frombuffer(buffer, np.float32), rate, source_name(source))


def blocks(
    source: Path | str | BinaryIO,
    rate: int = SAMPLE_RATE,
    *,
    channel: int | None = None,
    pcm: PcmFormat | None = None,
    block_s: float = 1.0,
) -> Generator[NDArray[np.float32], None, None]:
    """Decode a recording in memory that does not grow with its length.

    Yields mono float32 arrays of round(block_s * rate) samples, the last perhaps shorter, none empty. Channels are
    averaged, or the one numbered `channel` from 0 is taken. `pcm` says that the source is headerless. The file is
    opened at the first block and closed at the end or when the iterator is closed; an open file stays open.

    Raises UsageError for unusable arguments, AudioError for a source that is not audio, holds none or is damaged.
    """
    check_rate(rate)
    size = round(block_s * rate)
    if size < 1:
        raise UsageError("block is shorter than a sample", f"{block_s} s", "use a longer one")
    if channel is not None and channel < 0:
        raise UsageError("no such channel", channel, "channels are numbered from 0")
    return _blocks(source, rate, channel, pcm, size)


def _blocks(
    source: Path | str | BinaryIO, rate: int, channel: int | None, pcm: PcmFormat | None, size: int
) -> Generator[NDArray[np.float32], None, None]:
    is_empty = True
    with opened(source) as reader:
        pieces = _decoded(reader, rate, channel) if pcm is None else _raw(reader, rate, channel, pcm)
        for block in reblock(pieces, size):
            is_empty = False
            yield block
        if is_empty:
            raise AudioError("no audio samples in file", reader.label, "check that the recording was written")


def _raw(reader: Reader, rate: int, channel: int | None, pcm: PcmFormat) -> Iterator[NDArray[np.float32]]:
    decoder = PcmDecoder(pcm, rate, channel)
    while data := reader.read(_READ_BYTES):
        yield decoder.feed(data)
    yield decoder.finish()


def _decoded(reader: Reader, rate: int, channel: int | None) -> Iterator[NDArray[np.float32]]:
    """Decode, mix and resample; where the stream changes its rate, resampling starts afresh."""
    resampler: Resampler | None = None
    for samples, source_rate in frames(reader):
        if channel is not None and channel >= samples.shape[1]:
            found = f"{channel} in {reader.label}"
            raise AudioError("no such channel", found, f"it has {samples.shape[1]}, numbered from 0")
        if resampler is None or resampler.source_rate != source_rate:
            if resampler is not None:
                yield resampler.finish()
            resampler = Resampler(source_rate, rate)
        yield resampler.feed(mono(samples, channel))
    if resampler is not None:
        yield resampler.finish()
