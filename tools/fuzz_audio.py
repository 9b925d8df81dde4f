"""Throw damaged recordings at the decoder until the time is up: it may decode or raise AudioError, and nothing else.

Small files of many containers are encoded in memory, their bytes are mutated, headers above all, and each is decoded in
a child process. A death of that process, a case that exceeds its time, memory beyond the limit and any other exception
are findings: the input is written to a file, and the exit status is 1. The same seed makes the same inputs.

    python tools/fuzz_audio.py --seconds 300 --seed 1
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import multiprocessing
import random
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from auricle.audio import blocks, probe
from auricle.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from typing_extensions import Buffer

CASE_LIMIT_S = 20.0
CASE_LIMIT_MB = 256
ADDRESS_SPACE_MB = 2048
HEADER_BYTES = 600
HEADER_SHARE, CUT_SHARE, PIPE_SHARE = 0.8, 0.3, 0.2
RATE = 16_000
# muxer, encoder, sampling rate, channels
RECORDINGS = [
    ("wav", "pcm_s16le", 16_000, 1), ("wav", "pcm_u8", 8_000, 2), ("wav", "pcm_s24le", 44_100, 2),
    ("wav", "pcm_f32le", 48_000, 1), ("wav", "pcm_mulaw", 8_000, 1), ("wav", "adpcm_ms", 16_000, 1),
    ("wav", "adpcm_ima_wav", 16_000, 2), ("w64", "pcm_s16le", 16_000, 1), ("aiff", "pcm_s16be", 16_000, 2),
    ("au", "pcm_s16be", 16_000, 1), ("caf", "pcm_s16le", 16_000, 2), ("caf", "alac", 16_000, 1),
    ("voc", "pcm_u8", 16_000, 1), ("sox", "pcm_s32le", 16_000, 1), ("ircam", "pcm_s16le", 16_000, 1),
    ("flac", "flac", 16_000, 1), ("flac", "flac", 44_100, 8), ("tta", "tta", 16_000, 1), ("wv", "wavpack", 16_000, 1),
    ("mp3", "libmp3lame", 16_000, 1), ("mp2", "mp2", 16_000, 2), ("adts", "aac", 16_000, 2), ("latm", "aac", 16_000, 1),
    ("ac3", "ac3", 48_000, 6), ("eac3", "eac3", 48_000, 1), ("amr", "libopencore_amrnb", 8_000, 1),
    ("ogg", "libopus", 48_000, 1), ("ogg", "libopus", 48_000, 8), ("ogg", "flac", 16_000, 1),
    ("webm", "libopus", 48_000, 2), ("matroska", "aac", 16_000, 1), ("matroska", "flac", 16_000, 2),
    ("mp4", "aac", 16_000, 1), ("mp4", "alac", 16_000, 2), ("mov", "pcm_s16le", 16_000, 2),
    ("3gp", "libopencore_amrnb", 8_000, 1), ("mpegts", "aac", 16_000, 1), ("vob", "mp2", 16_000, 1),
    ("flv", "aac", 44_100, 1), ("avi", "libmp3lame", 16_000, 1), ("asf", "libmp3lame", 44_100, 2),
    ("rm", "ac3", 48_000, 1), ("nut", "pcm_s16le", 16_000, 1), ("wtv", "mp2", 16_000, 1),
    ("gxf", "pcm_s16le", 48_000, 1),
]  # fmt: skip
# What files begin with whose encoders FFmpeg lacks; what follows is noise.
BEGINNINGS = {
    "aa": b"\0\0\2\0\x57\x90\x75\x36\0\0\0\1",
    "aea": b"\0\x08\0\0",
    "ape": b"MAC \x96\x0f\0\0\x34\0\0\0\x18\0\0\0",
    "avr": b"2BIT",
    "codec2": b"\xc0\xde\xc2\1\0\4\0",
    "dsf": b"DSD \x1c\0\0\0\0\0\0\0",
    "dss": b"\2dss",
    "gxf": b"\0\0\0\0\1\xbc",
    "hcom": b"\0" * 65 + b"FSSD" + b"\0" * 59 + b"HCOM",
    "iff": b"FORM\0\0\2\08SVXVHDR\0\0\0\x14",
    "ilbc": b"#!iLBC30\n",
    "lc3": b"\x1c\xcc\x12\0\xa0\0\xf0\0\1\0\xe8\3",
    "maud": b"FORM\0\0\2\0MAUDMHDR\0\0\0\x20",
    "mpc": b"MP+\7\x10\0\0\0",
    "mpc8": b"MPCKSH\x0f\0\0\0\0\x08",
    "mxf": b"\6\x0e\x2b\x34\2\5\1\1\x0d\1\2\1\1\2\4\0",
    "nist": b"NIST_1A\n   1024\nchannel_count -i 1\n",
    "nsp": b"FORMDS16\0\2\0\0HEDR",
    "oma": b"EA3\0\0\x60\xff\xff",
    "osq": b"OSQ \x30\0\0\0\1\0",
    "pvf": b"PVF1\n1 8000 16\n",
    "qcp": b"RIFF\0\2\0\0QLCMfmt ",
    "qoa": b"qoaf\0\0\x10\0\1\0\x3e\x80",
    "rka": b"RKA7",
    "shn": b"ajkg\2",
    "sds": b"\xf0\x7e\0\1\0\0\x10",
    "tak": b"tBaK\1\x0a\0\0",
    "vqf": b"TWIN97012000\0\0\0\x28COMM\0\0\0\x10",
    "wsd": b"1bit\0\0\0\0",
    "wve": b"ALawSoundFile**\0",
    "xwma": b"RIFF\0\2\0\0XWMAfmt \x12\0\0\0",
}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


class Case(NamedTuple):
    """One input, how it was made and how it is to be decoded."""

    name: str
    data: bytes
    channel: int | None
    is_pipe: bool


class Outcome(NamedTuple):
    """How the decoder took a case: `kind` is decoded, refused, or what was found wrong."""

    kind: str
    detail: str = ""
    peak_mb: float = 0.0


class Pipe(io.RawIOBase):
    """Bytes that can only be read in order."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Read as many bytes as fit."""
        return self._data.readinto(buffer)


def encode(muxer: str, encoder: str, rate: int, channels: int, seconds: float = 0.3) -> bytes:
    """Encode a hum of `seconds` in memory."""
    import av

    file = io.BytesIO()
    count = int(rate * seconds)
    hum = np.repeat(np.sin(np.arange(count) * 2 * np.pi * 300 / rate) * 9_000, channels).astype(np.int16)
    with av.open(file, "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=rate, layout=LAYOUTS[channels])
        if not isinstance(stream, av.AudioStream):
            raise TypeError(encoder)
        frame = av.AudioFrame.from_ndarray(hum[np.newaxis], "s16", LAYOUTS[channels])
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def mutate(data: bytes, other: bytes, random_: random.Random) -> bytes:
    """Damage a recording in one to eight places, mostly near its start, perhaps with parts of another one."""
    damaged = bytearray(data)
    for _ in range(random_.randint(1, 8)):
        reach = min(HEADER_BYTES, len(damaged)) if random_.random() < HEADER_SHARE else len(damaged)
        at = random_.randrange(max(reach, 1))
        size = random_.choice((1, 2, 4, 8))
        match random_.randrange(8):
            case 0:
                damaged[at : at + 1] = bytes([damaged[at] ^ 1 << random_.randrange(8)]) if damaged else b"\0"
            case 1:
                damaged[at : at + size] = random_.randbytes(size)
            case 2:
                damaged[at : at + size] = random_.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * size
            case 3:
                number = random_.choice((0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)) & (1 << 8 * size) - 1
                damaged[at : at + size] = number.to_bytes(size, random_.choice(("little", "big")))
            case 4:
                del damaged[at : at + random_.choice((size, 100))]
            case 5:
                damaged[at:at] = damaged[at : at + random_.choice((size, 1000))]
            case 6:
                begin = random_.randrange(len(other))
                damaged[at : at + size * 8] = other[begin : begin + size * 8]
            case _:
                damaged = damaged[: max(at, 1) if random_.random() < CUT_SHARE else None]
    return bytes(damaged)


def cases(seed: int) -> Iterator[Case]:
    """Make damaged recordings without end."""
    seeds = [(f"{muxer}-{encoder}", encode(muxer, encoder, rate, n)) for muxer, encoder, rate, n in RECORDINGS]
    random_ = random.Random(seed)  # noqa: S311 (reproducible on purpose)
    seeds += [(name, beginning + random_.randbytes(1000)) for name, beginning in BEGINNINGS.items()]
    while True:
        name, data = random_.choice(seeds)
        damaged = mutate(data, random_.choice(seeds)[1], random_)
        yield Case(name, damaged, random_.choice((None, None, None, 0, 1)), random_.random() < PIPE_SHARE)


def attempt(case: Case) -> Outcome:
    """Probe and decode a case in this process."""
    with contextlib.suppress(AudioError):
        probe(io.BytesIO(case.data))
    file = io.BufferedReader(Pipe(case.data)) if case.is_pipe else io.BytesIO(case.data)
    try:
        for _ in blocks(file, RATE, channel=case.channel):
            pass
    except AudioError as error:
        return Outcome("refused", str(error))
    return Outcome("decoded")


def serve(connection: Connection) -> None:
    """Attempt cases as they come; what is raised other than AudioError is told, whatever it is."""
    import faulthandler
    import resource

    logging.disable()
    warnings.simplefilter("error")
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_MB << 20, ADDRESS_SPACE_MB << 20))
    while True:
        case = Case(*connection.recv())
        try:
            outcome = attempt(case)
        except Exception as error:  # noqa: BLE001 (every other exception is a finding)
            outcome = Outcome("exception", repr(error))
        connection.send(outcome._replace(peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


class Child:
    """The process that decodes, started anew whenever it is lost."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def attempt(self, case: Case) -> Outcome:
        """Decode a case there and say how it went."""
        self._connection.send(tuple(case))
        try:
            if self._connection.poll(CASE_LIMIT_S):
                outcome: Outcome = self._connection.recv()
                if outcome.peak_mb <= CASE_LIMIT_MB:
                    return outcome
                outcome = Outcome("memory", f"peak of {outcome.peak_mb:.0f} MB", outcome.peak_mb)
            else:
                outcome = Outcome("hang", f"no result in {CASE_LIMIT_S:g} s")
        except EOFError:
            self._process.join()
            outcome = Outcome("crash", f"exit status {self._process.exitcode}")
        self.stop()
        self._start()
        return outcome

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def fuzz(seconds: float, seed: int, folder: Path) -> dict[str, object]:
    """Attempt cases for `seconds`, write those found at fault to `folder` and return the summary."""
    counts: Counter[str] = Counter()
    findings: list[dict[str, str]] = []
    slowest_s = peak_mb = 0.0
    child = Child()
    source = cases(seed)
    end = time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        case = next(source)
        outcome = child.attempt(case)
        slowest_s = max(slowest_s, time.monotonic() - begin)
        peak_mb = max(peak_mb, outcome.peak_mb)
        counts[outcome.kind] += 1
        if outcome.kind not in ("decoded", "refused"):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{outcome.kind}-{seed}-{counts.total()}-{case.name}"
            path.write_bytes(case.data)
            found = {"kind": outcome.kind, "detail": outcome.detail, "file": str(path)}
            findings.append(found)
            sys.stderr.write(f"{found}\n")
    child.stop()
    summary = {"seed": seed, "seconds": seconds, "cases": counts.total(), **counts}
    return {**summary, "slowest_ms": round(slowest_s * 1000), "peak_mb": round(peak_mb), "findings": findings}


def main() -> int:
    """Read the arguments, fuzz and print the summary as one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("fuzz-findings"), help="where inputs at fault are written")
    arguments = parser.parse_args()
    summary = fuzz(arguments.seconds, arguments.seed, arguments.folder)
    print(json.dumps(summary))
    return 1 if summary["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
