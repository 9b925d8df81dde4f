"""Pulling a model: fetched beside its place, verified, put there by one rename, by one process at a time."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from auricle.errors import DownloadError, ModelError
from auricle.files import write_text
from auricle.models.archive import unpack
from auricle.models.catalogue import (
    ArchiveSource,
    CatalogueEntry,
    EmbeddedSource,
    HubSource,
    ModelFile,
    ShippedSource,
)
from auricle.models.checks import Expected, Progress, disk_errors, ignore_progress, remove_folder, verify
from auricle.models.hub import pull_hub
from auricle.models.store import RECORD_NAME, STORE, ModelRecord, damage_of, models_dir, read_record
from auricle.models.transfer import PATIENCE, Patience, download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_POLL_S = 0.5


def pull(
    entry: CatalogueEntry,
    destination: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    patience: Patience = PATIENCE,
) -> Path:
    """Fetch a model into the store, or into the folder `destination`, and return its folder.

    One that is there and whole is not fetched again. A pull that was broken off goes on where it stopped; what it has
    so far lies beside the folder under a name with a leading dot. Raises DownloadError when the transfer fails or the
    disk does not take it, ModelError when there is nothing to pull, the files are not the ones expected, or
    `destination` holds something else.
    """
    if isinstance(entry.source, EmbeddedSource | ShippedSource):
        remedy = f"use it as it is: --engine {entry.engines[0]} --model {entry.name}"
        raise ModelError("nothing to pull: this model comes with the package", entry.name, remedy)
    report = progress or ignore_progress
    folder = models_dir() / entry.name if destination is None else destination.absolute()
    with disk_errors(folder.parent, f"check its permissions and free space, or set {STORE} to another folder"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder, report):
            if _is_there(folder, entry):
                return folder
            staging = _staging(folder, entry)
            origin = _fetch(entry, staging, report, patience)
            _record(entry, staging / "model", origin)
            _put(staging, folder)
    return folder


@contextmanager
def _alone(folder: Path, progress: Callable[[Progress], None]) -> Iterator[None]:
    """Hold the folder's lock, waiting for another process that pulls the same model."""
    import filelock

    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        progress(Progress("waiting", folder.name))
        lock.acquire(poll_interval=_POLL_S)
    try:
        yield
    finally:
        lock.release()


def _is_there(folder: Path, entry: CatalogueEntry) -> bool:
    """Tell whether the model is there and whole; raises ModelError when the folder holds something else."""
    record = read_record(folder)
    if folder.exists() and (record is None or record.name != entry.name) and any(folder.iterdir()):
        raise ModelError("the folder holds something else", folder, "move that away, or name a new folder")
    return damage_of(folder) is None


def _staging(folder: Path, entry: CatalogueEntry) -> Path:
    """The folder of a pull under way; what another version of the entry has left in it is removed."""
    staging = folder.with_name(f".{folder.name}.part")
    plan = entry.model_dump_json(include={"name", "source", "files"})
    note = staging / "plan.json"
    if not note.is_file() or note.read_text(encoding="utf-8") != plan:
        remove_folder(staging)
        write_text(note, plan)
    return staging


def _fetch(entry: CatalogueEntry, staging: Path, progress: Callable[[Progress], None], patience: Patience) -> str:
    """Bring the model's files to `staging/model` and return where they came from."""
    model = staging / "model"
    if isinstance(entry.source, HubSource):
        return pull_hub(entry, entry.source, model, progress, patience)
    _require_network(entry)
    if isinstance(entry.source, ArchiveSource):
        archive = _fetch_archive(entry.source, staging, progress, patience)
        try:
            _unpack(archive, staging, progress)
            _require_files(entry, model, progress)
        except ModelError:
            archive.unlink()
            raise
        return entry.source.url
    for file in entry.files:
        target = model / file.path
        if file.url is not None and not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            download(file.url, target, file.expected, progress, patience)
    return ", ".join(file.url for file in entry.files if file.url is not None)


def _fetch_archive(
    source: ArchiveSource, staging: Path, progress: Callable[[Progress], None], patience: Patience
) -> Path:
    archive = staging / "download" / (PurePosixPath(urlsplit(source.url).path).name or "archive")
    archive.parent.mkdir(exist_ok=True)
    if not archive.is_file():
        download(source.url, archive, Expected(sha256=source.sha256, bytes=source.bytes), progress, patience)
    return archive


def _unpack(archive: Path, staging: Path, progress: Callable[[Progress], None]) -> None:
    """Unpack the archive; when all it holds is one folder, that folder is the model."""
    unpacked = staging / "unpacked"
    remove_folder(unpacked)
    remove_folder(staging / "model")
    unpack(archive, unpacked, progress)
    inside = list(unpacked.iterdir())
    (inside[0] if len(inside) == 1 and inside[0].is_dir() else unpacked).rename(staging / "model")


def _require_network(entry: CatalogueEntry) -> None:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        remedy = "unset it, or pull on another machine, copy the folder here and give its path as the model"
        raise DownloadError("HF_HUB_OFFLINE forbids the network", entry.name, remedy)


def _require_files(entry: CatalogueEntry, model: Path, progress: Callable[[Progress], None]) -> None:
    for file in entry.files:
        path = model / file.path
        if not path.is_file():
            remedy = "the source was changed: correct the catalogue's entry, or look for a newer version of auricle"
            raise ModelError(f"what was fetched lacks the file {file.path}", entry.name, remedy)
        verify(path, file.expected, file.path, progress)


def _record(entry: CatalogueEntry, model: Path, origin: str) -> None:
    hashes = {file.path: file.sha256 for file in entry.files}
    sizes = {path.relative_to(model).as_posix(): path.stat().st_size for path in model.rglob("*") if path.is_file()}
    sizes.pop(RECORD_NAME, None)
    files = tuple(ModelFile(path=path, bytes=size, sha256=hashes.get(path)) for path, size in sorted(sizes.items()))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = ModelRecord(name=entry.name, origin=origin, pulled_at=now, files=files)
    write_text(model / RECORD_NAME, record.model_dump_json(indent=1, exclude_none=True) + "\n")


def _put(staging: Path, folder: Path) -> None:
    """Move the finished model to its place; what is left of a damaged one there makes way."""
    remove_folder(staging / "replaced")
    if folder.exists():
        folder.rename(staging / "replaced")
    (staging / "model").rename(folder)
    shutil.rmtree(staging, ignore_errors=True)
