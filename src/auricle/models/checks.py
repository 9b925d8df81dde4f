"""What is known of a file before it is fetched, how far a pull is, and the checks of a file and of the disk."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auricle.errors import AuricleError, DownloadError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BLOCK_BYTES = 1 << 20
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is with one file: bytes done and in all, the latter None while unknown."""

    stage: Literal["waiting", "downloading", "verifying", "unpacking"]
    name: str
    done_bytes: int = 0
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of a file before it is fetched; None is unknown. More than `max_bytes` is refused."""

    sha256: str | None = None
    bytes: int | None = None
    max_bytes: int | None = None


UNKNOWN = Expected()


def ignore_progress(_: Progress) -> None:
    """Report nothing."""


def verify(path: Path, expected: Expected, name: str, progress: Callable[[Progress], None] = ignore_progress) -> None:
    """Compare a file with what is known of it; raises ModelError naming both when they differ."""
    size = path.stat().st_size
    if expected.bytes is not None and size != expected.bytes:
        raise other_file(name, f"it has {size} bytes where {expected.bytes} are expected")
    if expected.sha256 is None:
        return
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            progress(Progress("verifying", name, done, size))
    if digest.hexdigest() != expected.sha256:
        raise other_file(name, f"its SHA-256 is {digest.hexdigest()} where {expected.sha256} is expected")


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise DownloadError when the disk under `folder` has no room for `needed_bytes` and a little more."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + _SPARE_BYTES:
        what = f"not enough disk space ({needed_bytes / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free)"
        raise DownloadError(what, folder, "free some there, or choose a folder on another disk")


@contextmanager
def disk_errors(folder: Path, remedy: str = "check its permissions and free space") -> Iterator[None]:
    """Turn what the file system refuses in the body into a DownloadError that names the folder."""
    try:
        yield
    except AuricleError:
        raise
    except OSError as error:
        raise DownloadError(f"cannot write ({error.strerror or error})", folder, remedy) from error


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def other_file(name: str, difference: str) -> ModelError:
    """The error for a file that is not the one that the catalogue names."""
    remedy = "it was damaged on the way or replaced at its source: pull again, or correct the catalogue's entry"
    return ModelError(f"not the file that the catalogue names: {difference}", name, remedy)
