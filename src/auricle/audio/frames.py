"""From a container's packets to arrays of samples, and what is done about damage.

A file that ends early gives what was there, as players and the ffmpeg program do: the last packet of a cut file may be
broken and is left out, with a warning in the log. A packet that cannot be decoded while others follow it means that
audio is missing in the middle, and is an error that names the place. What stands between the frames of an MP3 file,
such as tags, is skipped. Where only the timestamps show a hole, as in a call that was on hold, samples still follow one
another and the length of all holes is logged; in FLAC, which has none, it is damage. Encoder delay and padding are left
out where the file tells of them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from auricle.audio.container import best_stream, check_parameters
from auricle.audio.pcm import check_samples, integers_to_float
from auricle.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av
    from av import AudioFrame, AudioStream, Packet
    from av.container import InputContainer
    from numpy.typing import NDArray

    from auricle.audio.source import Reader

_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_MPEG_AUDIO = ("mp1", "mp2", "mp3")
_MPEG_SYNC = 0xFFE0
_SMALLEST_HOLE_S = 0.1
_log = logging.getLogger(__name__)


def frames(reader: Reader) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Decode the best audio stream: arrays of shape `(samples, channels)` in [-1, 1] and their rate in Hz, in order.

    Rate and channel count may change on the way. Raises AudioError for what is not audio or is damaged.
    """
    with best_stream(reader) as (container, stream):
        for frame in _decoded(reader, container, stream):
            samples = _samples(frame)
            check_parameters(reader.label, frame.sample_rate, samples.shape[1])
            check_samples(samples, reader.label)
            yield samples, frame.sample_rate


def _decoded(reader: Reader, container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Decode packet after packet; a broken one is an error once another follows it."""
    import av

    position_s = 0.0
    skipped_bytes = 0
    broken: av.FFmpegError | None = None
    try:
        for packet in _packets(reader, container, stream):
            if broken is not None and packet is not None:
                raise broken
            try:
                decoded = stream.codec_context.decode(packet)
            except av.FFmpegError as error:
                if packet is not None and _is_between_frames(packet):
                    skipped_bytes += packet.size
                else:
                    broken = error
                continue
            for frame in decoded:
                position_s += frame.samples / max(frame.sample_rate, 1)
                yield frame
    except av.FFmpegError as error:
        raise _damaged(reader, position_s, error.strerror) from error
    if broken is not None:
        _log.warning("%s: the last packet is cut off and left out, at %.2f s", reader.label, position_s)
    if skipped_bytes:
        _log.warning("%s: %d bytes between frames are not audio and were skipped", reader.label, skipped_bytes)


def _packets(reader: Reader, container: InputContainer, stream: AudioStream) -> Iterator[Packet[AudioStream] | None]:
    """Read the packets of a stream, and None at the end to ask the decoder for what it holds back."""
    missing_s = 0.0
    expected: int | None = None
    demuxer = container.demux(stream)
    while packet := _next(demuxer):
        if packet.size == 0:
            continue
        if packet.pts is not None and packet.time_base is not None:
            hole_s = 0.0 if expected is None else float((packet.pts - expected) * packet.time_base)
            expected = packet.pts + packet.duration if packet.duration else None
            if hole_s >= _SMALLEST_HOLE_S:
                missing_s += hole_s
                if container.format.name == "flac":
                    raise _damaged(reader, float(packet.pts * packet.time_base), "frames are missing")
        yield packet
    if missing_s:
        _log.warning("%s: holes of %.1f s in all were not filled", reader.label, missing_s)
    yield None


def _next(demuxer: Iterator[Packet[AudioStream]]) -> Packet[AudioStream] | None:
    """Read a packet, None at the end, where PyAV may stumble over a stream that was not there at the start."""
    try:
        return next(demuxer, None)
    except IndexError:
        return None


def _is_between_frames(packet: Packet[AudioStream]) -> bool:
    """Tell whether a packet of MPEG audio is no frame, for it does not begin with the eleven bits that begin one."""
    is_mpeg_audio = packet.stream.codec_context.codec.canonical_name in _MPEG_AUDIO
    return is_mpeg_audio and int.from_bytes(bytes(packet)[:2]) & _MPEG_SYNC != _MPEG_SYNC


def _samples(frame: AudioFrame) -> NDArray[np.float32]:
    """Copy a frame into shape `(samples, channels)`, scaled to [-1, 1]."""
    from av.audio.plane import AudioPlane

    channels = frame.layout.nb_channels
    dtype = _DTYPES[frame.format.packed.name]
    if frame.format.is_planar:
        # Not frame.planes, which runs past the end of the table of planes when there are eight or more.
        planes = [np.frombuffer(bytes(AudioPlane(frame, index)), dtype, frame.samples) for index in range(channels)]
        values = np.stack(planes, axis=1)
    else:
        values = np.frombuffer(bytes(AudioPlane(frame, 0)), dtype, frame.samples * channels).reshape(-1, channels)
    if not dtype.startswith("f"):
        return integers_to_float(values)
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused for that
        return values.astype(np.float32)


def _damaged(reader: Reader, position_s: float, reason: str | None) -> AudioError:
    remedy = "repair it, or convert it with a tool that skips damage"
    if not reader.seekable():
        remedy = "read it from a file, not from a pipe, for some containers keep their index at the end"
    return AudioError("audio cannot be decoded", f"{reader.label} (at {position_s:.2f} s: {reason})", remedy)
