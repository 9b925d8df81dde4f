"""Containers opened by FFmpeg through PyAV, with everything shut off that a hostile file could use.

FFmpeg reads through a Python file object, recognises a file by its content alone and may use only the demuxers named
here, which read nothing but the file itself; one that asks for another file is refused. Only audio decoders may run, so
a cover picture or a video track is skipped unseen. No header makes FFmpeg take memory without bound.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from auricle.audio.source import opened
from auricle.audio.types import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, AudioInfo
from auricle.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av import AudioStream
    from av.container import InputContainer

    from auricle.audio.source import Reader

# Recordings of every kind; not playlists, scripts, subtitles, pictures, devices, network streams or games' own formats.
_DEMUXERS = (
    "aa,aac,ac3,act,aea,aiff,amr,amrnb,amrwb,ape,au,avr,bit,caf,codec2,dsf,dss,dts,dtshd,eac3,flac,gsm,hcom,iff,ilbc,ircam,"
    "lc3,loas,mlp,mp3,mpc,mpc8,nistsphere,nsp,ogg,oma,osq,pvf,qcp,qoa,rka,sds,shn,sox,tak,truehd,tta,voc,vqf,w64,wav,wsd,wv,"
    "wve,xwma,"
    "asf,asf_o,avi,dv,flv,gxf,live_flv,matroska,mov,mpeg,mpegts,mxf,nut,rm,wtv"
)
_CHECKSUMMED_CODECS = ("ape", "flac", "tta", "wavpack")
_LARGEST_ALLOCATION_BYTES = 1 << 27
_NOT_AUDIO_REMEDY = (
    "if it is raw PCM without a header, state its encoding, rate and channels; else convert it to WAV or FLAC"
)


@contextmanager
def best_stream(reader: Reader) -> Iterator[tuple[InputContainer, AudioStream]]:
    """Open a container and choose the audio stream that FFmpeg deems best; raises AudioError when there is none."""
    import av
    from av import AudioStream

    _limit_allocation()
    try:
        container = av.open(
            reader,
            "r",
            options={"format_whitelist": _DEMUXERS, "codec_whitelist": _audio_decoders()},
            metadata_errors="replace",
            io_open=_refuse_other_files,
        )
    except av.FFmpegError as error:
        if reader.is_empty:
            raise AudioError("audio file is empty", reader.label, "check that the recording was written") from error
        found = f"{reader.label} (found: {error.strerror})"
        raise AudioError("file is not audio that can be read", found, _NOT_AUDIO_REMEDY) from error
    with container:
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            found = ", ".join(sorted({other.type for other in container.streams})) or "no stream at all"
            raise AudioError("no audio stream in file", f"{reader.label} (found {found})", "choose another file")
        if stream.codec_context is None:
            raise AudioError("no decoder for the audio in file", reader.label, "convert it to WAV or FLAC")
        _forget_channel_order(stream)
        if stream.codec_context.name in _CHECKSUMMED_CODECS:
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        yield container, stream


def probe(source: Path | str | BinaryIO) -> AudioInfo:
    """Read what the best audio stream of a file declares, without decoding it; raises AudioError when it has none."""
    with opened(source) as reader, best_stream(reader) as (container, stream):
        context = stream.codec_context
        rate, channels = context.sample_rate, context.layout.nb_channels
        check_parameters(reader.label, rate, channels)
        duration_s = _declared_s(container, stream)
        return AudioInfo(container.format.name, context.codec.canonical_name, rate, channels, duration_s)


def check_parameters(name: str, rate: int, channels: int) -> None:
    """Raise AudioError for a sampling rate or a channel count that no recording has."""
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ or not 1 <= channels <= MAX_CHANNELS:
        found = f"{name} (found {rate} Hz, {channels} channels)"
        remedy = f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz and 1 to {MAX_CHANNELS} channels are read; is the header damaged?"
        raise AudioError("audio parameters are not usable", found, remedy)


def _forget_channel_order(stream: AudioStream) -> None:
    """Replace the stream's channel layout by a bare count of channels.

    PyAV's layout objects share, and free, the channel map that FFmpeg frees again, so a file that lists its channels in
    an unusual order would corrupt the heap. Here the map passes to the one object that is dropped.
    """
    layout = stream.codec_context.layout
    stream.codec_context.layout = f"{layout.nb_channels} channels"


def _declared_s(container: InputContainer, stream: AudioStream) -> float | None:
    import av

    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base


def _refuse_other_files(url: str, *_: object) -> NoReturn:
    raise AudioError("file refers to another one, which is not followed", url, "give a file that holds its own audio")


@cache
def _limit_allocation() -> None:
    """Bound each allocation that FFmpeg makes in this process, for it clears as much memory as a header claims to need.

    128 MiB hold the index of more than a day of audio. PyAV has no function for this, so FFmpeg's own is called through
    the library of PyAV that links to it; Windows finds no function in that way, and FFmpeg's limit of 2 GiB remains.
    """
    import ctypes

    from av import _core

    if sys.platform != "win32":
        ctypes.CDLL(_core.__file__).av_max_alloc(ctypes.c_size_t(_LARGEST_ALLOCATION_BYTES))


@cache
def _audio_decoders() -> str:
    import av

    decoders = []
    for name in av.codecs_available:
        try:
            codec = av.Codec(name, "r")
        except av.codec.codec.UnknownCodecError:
            continue
        if codec.type == "audio":
            decoders.append(codec.name)
    return ",".join(sorted(decoders))
