"""Files of the model hub: huggingface_hub lists and addresses them and finds the token; our transfer fetches them.

Its own download functions discard what has arrived when they are broken off (2.4 does), which a file of gigabytes does
not bear. HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN and HF_HOME are honoured, and what lies in the hub's cache is taken
from there: linked, or copied on another disk, so that the model's folder stands on its own.
"""

from __future__ import annotations

import os
import shutil
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auricle.errors import DownloadError, ModelError
from auricle.models.catalogue import inner_path
from auricle.models.checks import UNKNOWN, Expected, other_file, remove_folder, require_space, verify
from auricle.models.transfer import download
from auricle.models.urls import check_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from auricle.models.catalogue import CatalogueEntry, HubSource
    from auricle.models.checks import Progress
    from auricle.models.transfer import Patience

_CHANGED = "the repository was changed: correct the catalogue's entry, or look for a newer version of auricle"
_OFFLINE = (
    "with a network unset HF_HUB_OFFLINE and run this again, or set HF_ENDPOINT to a mirror; without one, pull on "
    "another machine, copy the folder here and give its path as the model"
)


def pull_hub(
    entry: CatalogueEntry,
    source: HubSource,
    folder: Path,
    progress: Callable[[Progress], None],
    patience: Patience,
) -> str:
    """Put the entry's files of the hub repository (all, when it names none) into `folder`; return where they came from.

    Each is compared with the size and SHA-256 that the entry states, or else the hub. Raises DownloadError when the
    hub cannot be reached and its cache lacks them, ModelError for a file that is missing or not the one expected.
    """
    known = {file.path: file.expected for file in entry.files}
    info = _ask(source)
    if info is None:
        return _take_snapshot(source, known, folder, progress)
    _begin(folder, info.sha)
    expected = _expected(info, known, source)
    missing = {path: each for path, each in expected.items() if not (folder / path).is_file()}
    require_space(folder, sum(each.bytes or 0 for each in missing.values()))
    for path, each in missing.items():
        _fetch(source, info.sha, path, folder / path, each, progress, patience)
    return f"{source.repo}@{info.sha}"


def _ask(source: HubSource) -> Any | None:
    """Ask the hub for the repository's commit and files; None when it does not answer or must not be asked."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError, HTTPError

    check_url(constants.ENDPOINT, plain_http=True)
    try:
        info = HfApi().model_info(source.repo, revision=source.revision, files_metadata=True)
    except HFValidationError as error:
        raise ModelError(f"not a repository of the hub ({error})", source.repo, _CHANGED) from error
    except (HTTPError, OSError) as error:
        refusal = _refusal(source, getattr(getattr(error, "response", None), "status_code", None))
        if refusal is not None:
            raise refusal from error
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadError("what answers is no model hub", constants.ENDPOINT, "correct HF_ENDPOINT") from error
    return info


def _refusal(source: HubSource, status: int | None) -> DownloadError | None:
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        what = f"the hub has no such repository, or does not give it to you (HTTP {status})"
        remedy = "accept the model's terms on its page, and set HF_TOKEN to a token of your account"
        return DownloadError(what, source.repo, remedy)
    if status == HTTPStatus.NOT_FOUND:
        return DownloadError("the hub has no such repository or revision", source.repo, _CHANGED)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return DownloadError("the hub is busy (HTTP 429)", source.repo, "try again later, or set HF_TOKEN")
    return None


def _take_snapshot(
    source: HubSource, known: dict[str, Expected], folder: Path, progress: Callable[[Progress], None]
) -> str:
    """Take the files from the hub's cache alone."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot = Path(
            huggingface_hub.snapshot_download(
                source.repo, revision=source.revision, allow_patterns=list(known) or None, local_files_only=True
            )
        )
    except LocalEntryNotFoundError as error:
        raise _unreachable(source) from error
    paths = list(known) or [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
    if not all((snapshot / path).is_file() for path in paths):
        raise _unreachable(source)
    for path in paths:
        verify(snapshot / path, known.get(path, UNKNOWN), path, progress)
    remove_folder(folder)
    for path in paths:
        _adopt(snapshot / path, folder / path)
    return f"{source.repo}@{snapshot.name}"


def _unreachable(source: HubSource) -> DownloadError:
    return DownloadError("the hub cannot be reached, and its cache here lacks the model", source.repo, _OFFLINE)


def _begin(folder: Path, commit: str) -> None:
    """Go on with what an earlier pull has brought of the same commit, or start with an empty folder."""
    note = folder.with_name("commit")
    if not note.is_file() or note.read_text(encoding="ascii") != commit:
        remove_folder(folder)
        note.write_text(commit, encoding="ascii")
    folder.mkdir(exist_ok=True)


def _expected(info: Any, known: dict[str, Expected], source: HubSource) -> dict[str, Expected]:
    """What each file is compared with: the hub's word where the entry has none, which it must not contradict."""
    try:
        stated = {
            inner_path(file.rfilename): Expected(None if file.lfs is None else file.lfs.sha256, file.size)
            for file in info.siblings or []
            if not known or file.rfilename in known
        }
    except ValueError as error:
        raise ModelError(
            f"the repository is not to be trusted ({error})", source.repo, "pull from elsewhere"
        ) from error
    if missing := sorted(known.keys() - stated.keys()):
        raise ModelError(f"the repository has no file {', '.join(missing)}", f"{source.repo}@{info.sha}", _CHANGED)
    return {path: _agreed(path, known.get(path, UNKNOWN), each) for path, each in stated.items()}


def _agreed(path: str, ours: Expected, theirs: Expected) -> Expected:
    for field in ("bytes", "sha256"):
        mine, other = getattr(ours, field), getattr(theirs, field)
        if mine is not None and other is not None and mine != other:
            raise other_file(path, f"the hub states the {field} {other} where {mine} is expected")
    return Expected(ours.sha256 or theirs.sha256, theirs.bytes if ours.bytes is None else ours.bytes)


def _fetch(
    source: HubSource,
    commit: str,
    path: str,
    target: Path,
    expected: Expected,
    progress: Callable[[Progress], None],
    patience: Patience,
) -> None:
    """Take one file from the hub's cache, if it lies there undamaged, else from the hub."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers

    cached = huggingface_hub.try_to_load_from_cache(source.repo, path, revision=commit)
    if isinstance(cached, str) and _is_right(Path(cached), expected, path, progress):
        _adopt(Path(cached), target)
        return
    headers = {name: value for name, value in build_hf_headers().items() if name.lower() == "authorization"}
    url = huggingface_hub.hf_hub_url(source.repo, path, revision=commit)
    target.parent.mkdir(parents=True, exist_ok=True)
    own_mirror = constants.ENDPOINT.startswith("http://")
    download(url, target, expected, progress, patience, headers=headers, plain_http=own_mirror)


def _is_right(path: Path, expected: Expected, name: str, progress: Callable[[Progress], None]) -> bool:
    try:
        verify(path, expected, name, progress)
    except ModelError:
        return False
    return True


def _adopt(source: Path, target: Path) -> None:
    """Link the cached file to its place, or copy it where the file system cannot."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
