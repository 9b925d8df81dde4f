"""Verdicts of the precision gate, kept in the store of models: what was checked once need not be checked again.

A verdict is about the bytes of a model's files, what the engine made of them, where, and with which versions of the
packages that compute. When any of these changes there is none.
"""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from auricle.errors import ModelError
from auricle.files import write_text
from auricle.models.store import models_dir

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Outcome = Literal["passed", "failed", "not enough evidence"]

_FOLDER = ".verdicts"
_PACKAGES = ("auricle", "torch", "sherpa-onnx")
_HASH_DIGITS = 16


class Subject(BaseModel):
    """What a verdict is about; `files` are sizes in bytes by name, `versions` those of what computes."""

    model_config = ConfigDict(frozen=True)

    engine: str
    precision: str
    device: str
    machine: str
    files: dict[str, int]
    versions: dict[str, str]


class Verdict(BaseModel):
    """What the gate found; `hashes` are the SHA-256 of the files, `reasons` sentences, `figures` what they rest on."""

    model_config = ConfigDict(frozen=True)

    model: str
    subject: Subject
    hashes: dict[str, str]
    outcome: Outcome
    reasons: tuple[str, ...]
    figures: dict[str, JsonValue]
    checked_at: str


def subject_of(engine: str, precision: str, device: str, files: Iterable[Path]) -> Subject:
    """Return what a verdict on these files would be about, on this machine."""
    return Subject(
        engine=engine,
        precision=precision,
        device=device,
        machine=f"{platform.system()} {platform.machine()}",
        files={path.name: path.stat().st_size for path in files},
        versions={name: found for name in _PACKAGES if (found := _version(name)) is not None},
    )


def files_of(path: Path, names: Iterable[str]) -> list[Path]:
    """Return the files with these names of the model at `path`, a file or a folder; a folder's name is all in it.

    Raises ModelError when one is not there.
    """
    found: list[Path] = []
    for name in names:
        file = path if path.name == name else (path if path.is_dir() else path.parent) / name
        if not file.exists():
            raise ModelError("a file of the model is not there", file, "load the model again")
        found += sorted(each for each in file.rglob("*") if each.is_file()) if file.is_dir() else [file]
    return found


def hashes_of(files: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of files by name, in hexadecimal."""
    hashes = {}
    for path in files:
        with path.open("rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def find(subject: Subject, files: Iterable[Path]) -> Verdict | None:
    """Return the verdict on these files that was kept last, None when there is none; files are read only if needed."""
    kept = [verdict for verdict in _kept() if verdict.subject == subject]
    if not kept:
        return None
    hashes = hashes_of(files)
    known = [verdict for verdict in kept if verdict.hashes == hashes]
    return max(known, key=lambda verdict: verdict.checked_at, default=None)


def keep(verdict: Verdict) -> Path:
    """Write a verdict into the store, in place of one on the same subject and files; return its path."""
    about = verdict.subject.model_dump_json() + "".join(f"{name}{digest}" for name, digest in verdict.hashes.items())
    name = hashlib.sha256(about.encode()).hexdigest()[:_HASH_DIGITS]
    path = models_dir() / _FOLDER / f"{name}.json"
    write_text(path, verdict.model_dump_json(indent=1) + "\n")
    return path


def _kept() -> list[Verdict]:
    folder = models_dir() / _FOLDER
    verdicts = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            verdicts.append(Verdict.model_validate_json(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, ValidationError):
            continue  # Of another version, or damaged: as if there were none.
    return verdicts


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
