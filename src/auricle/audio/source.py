"""Audio sources, opened for reading by Python alone."""

from __future__ import annotations

import io
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from auricle.errors import AudioError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Reader:
    """A binary file that never hands out more than was asked for and does not tell where it lies.

    FFmpeg reads through it and so cannot resolve a name relative to the file; PyAV copies what `read` returns into a
    buffer of exactly the size asked for. `label` names the source in errors.
    """

    def __init__(self, file: BinaryIO, label: str) -> None:
        self.label = label
        self.is_empty = True
        self._file = file
        self._seekable = file.seekable()
        if self._seekable:
            file.seek(0)

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end; raises AudioError when the file cannot be read."""
        try:
            data: object = self._file.read(size)
        except OSError as error:
            found = f"{self.label} (found: {error})"
            raise AudioError(
                "audio file cannot be read", found, "check the disk or the connection it lies on"
            ) from error
        if not isinstance(data, bytes) or len(data) > size:
            raise UsageError("audio source does not read as a binary file", self.label, "open it in mode 'rb'")
        self.is_empty = self.is_empty and not data
        return data

    def seekable(self) -> bool:
        """Whether the file is more than a pipe."""
        return self._seekable

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move within the file and return the new position in bytes."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._file.tell()


@contextmanager
def opened(source: Path | str | BinaryIO) -> Iterator[Reader]:
    """Open a path, or take an open binary file from its start and leave it open.

    Raises AudioError for a path that is missing, unreadable or not a regular file.
    """
    if not isinstance(source, (str, Path)):
        yield Reader(source, source_name(source))
        return
    path = Path(source)
    try:
        mode = path.stat().st_mode
        file = path.open("rb") if stat.S_ISREG(mode) else None
    except FileNotFoundError as error:
        raise AudioError("no such audio file", path, "check the path") from error
    except (OSError, ValueError) as error:
        found = f"{str(path)!r} (found: {getattr(error, 'strerror', None) or error})"
        raise AudioError("audio file cannot be opened", found, "check its name and permissions") from error
    if file is None:
        found = f"{path} (found a {'folder' if stat.S_ISDIR(mode) else 'device or pipe'})"
        raise AudioError("audio source is not a file", found, "name a file, or pass an open binary stream")
    with file:
        yield Reader(file, str(path))


def source_name(source: Path | str | BinaryIO) -> str:
    """Name a source in errors and results."""
    if isinstance(source, (str, Path)):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<stream>"
