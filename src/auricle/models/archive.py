"""Archives unpacked without trust: plain files and folders alone, inside the target, within a bound.

The loop is our own and the same for tar and zip: it creates no link and no device, so that no member can lead a later
one outside, whatever the version of the standard library's own filters.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from auricle.errors import AuricleError, ModelError
from auricle.models.checks import Progress, ignore_progress, require_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BLOCK_BYTES = 1 << 20
_MOST_MEMBERS = 2_000
_LARGEST_RATIO = 20
_ALWAYS_ALLOWED_BYTES = 64 << 20
# The decompressors also raise OSError, without the errno that one from the file system has.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, NotImplementedError, EOFError, lzma.LZMAError, zlib.error)
_REMEDY = "do not use this archive; pull the model from another source, or unpack it by hand and give its path"


@dataclass(frozen=True, slots=True)
class _Member:
    """One member: what it is called, how large it says it is, and its content, None for a folder."""

    name: str
    size: int
    content: IO[bytes] | None


def unpack(archive: Path, folder: Path, progress: Callable[[Progress], None] = ignore_progress) -> None:
    """Unpack a tar (plain, gz, bz2, xz) or zip archive into the new folder `folder`.

    Raises ModelError for a damaged archive, a member outside the folder, a link or device, more than 2,000 members, or
    more than 64 MiB that are also more than 20 times the archive's size; DownloadError when the disk has no room.
    """
    size = archive.stat().st_size
    limit = max(_ALWAYS_ALLOWED_BYTES, _LARGEST_RATIO * size)
    folder.mkdir(parents=True)
    done = 0
    try:
        with _members(archive, limit) as members:
            for count, member in enumerate(members, start=1):
                target = folder / _inside(member.name, archive)
                if count > _MOST_MEMBERS or not 0 <= member.size <= limit - done:
                    raise ModelError("the archive unpacks to more than a model can be", archive.name, _REMEDY)
                require_space(folder, member.size)
                done += _write(member, target)
                progress(Progress("unpacking", member.name, done))
    except AuricleError:
        raise
    except (FileExistsError, NotADirectoryError) as error:
        raise ModelError("the archive holds a file twice", archive.name, _REMEDY) from error
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ModelError(f"the archive is damaged ({error})", archive.name, _REMEDY) from error


def _inside(name: str, archive: Path) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise ModelError(f"the archive holds a file outside its folder: {name!r}", archive.name, _REMEDY)
    return name


def _write(member: _Member, target: Path) -> int:
    """Write one member and return its size; a file never replaces another."""
    if member.content is None:
        target.mkdir(parents=True, exist_ok=True)
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with target.open("xb") as file:
        while block := member.content.read(min(_BLOCK_BYTES, member.size + 1 - written)):
            written += file.write(block)
            if written > member.size:
                raise ModelError("a file in the archive is larger than it says", member.name, _REMEDY)
    return written


@contextmanager
def _members(archive: Path, limit: int) -> Iterator[Iterator[_Member]]:
    with archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith(b"PK"):
            with zipfile.ZipFile(file) as opened:
                yield _zip_members(opened, archive)
        else:
            bounded = io.BufferedReader(_Bounded(_decompressed(file, start), limit, archive.name))
            with tarfile.open(fileobj=bounded, mode="r|") as tar:
                yield _tar_members(tar, archive)


def _decompressed(file: IO[bytes], start: bytes) -> IO[bytes] | gzip.GzipFile:
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if start.startswith(b"\xfd7zXZ"):
        return lzma.LZMAFile(file)
    return file


class _Bounded(io.RawIOBase):
    """A stream that raises ModelError once it has given more than `limit` bytes."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, limit: int, name: str) -> None:
        self._stream = stream
        self._left = limit + _ALWAYS_ALLOWED_BYTES
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any writable buffer
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise ModelError("the archive unpacks to more than a model can be", self._name, _REMEDY)
        buffer[: len(data)] = data
        return len(data)


def _tar_members(tar: tarfile.TarFile, archive: Path) -> Iterator[_Member]:
    for member in tar:
        if not (member.isreg() or member.isdir()):
            raise ModelError(f"the archive holds a link or device: {member.name!r}", archive.name, _REMEDY)
        yield _Member(member.name, member.size, tar.extractfile(member))


def _zip_members(opened: zipfile.ZipFile, archive: Path) -> Iterator[_Member]:
    for info in opened.infolist():
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR} or info.flag_bits & 1:
            raise ModelError(f"the archive holds a link, or is encrypted: {info.filename!r}", archive.name, _REMEDY)
        if info.is_dir():
            yield _Member(info.filename, 0, None)
        else:
            with opened.open(info) as content:
                yield _Member(info.filename, info.file_size, content)
