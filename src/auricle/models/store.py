"""Where pulled models lie, and how a name or a path becomes one.

The store is a folder of folders, one per model, each with a record of where it came from and what it holds. A model
appears in it by one rename once it is whole, so whatever carries a record was pulled completely.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from auricle.errors import ModelError
from auricle.models.catalogue import CatalogueEntry, EmbeddedSource, ModelFile, ShippedSource, catalogue, get

STORE = "AURICLE_MODELS"
RECORD_NAME = "auricle-model.json"


class ModelRecord(BaseModel):
    """What a pulled folder says of itself: the model's name, where and when it came from, and its files."""

    model_config = ConfigDict(frozen=True)

    name: str
    origin: str
    pulled_at: str
    files: tuple[ModelFile, ...]


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model to load: its name for reports, its file or folder (None: the engine carries it), its catalogue entry."""

    name: str
    path: Path | None
    entry: CatalogueEntry | None


@dataclass(frozen=True, slots=True)
class PulledModel:
    """A model in the store, and what it takes on disk."""

    name: str
    path: Path
    bytes: int
    record: ModelRecord


def models_dir() -> Path:
    """The store: the folder that AURICLE_MODELS names, else `models` in the user's cache folder."""
    if os.environ.get(STORE):
        return Path(os.environ[STORE]).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("auricle", appauthor=False) / "models"


def resolve(name_or_path: str) -> ResolvedModel:
    """Find a model: an existing path first, then a name of the catalogue that was pulled or comes with the package.

    Raises ModelError when there is no such path or name, when the model was not pulled yet, or is not whole any more.
    """
    path = Path(name_or_path).expanduser()
    if name_or_path and path.exists():
        return _resolve_path(path.resolve())
    if _looks_like_a_path(name_or_path):
        remedy = "give the path of an existing file or folder, or a name that `auricle models list` shows"
        raise ModelError("no such model file or folder", name_or_path, remedy)
    entry = get(name_or_path)
    if isinstance(entry.source, EmbeddedSource):
        return ResolvedModel(entry.name, None, entry)
    if isinstance(entry.source, ShippedSource):
        return ResolvedModel(entry.name, shipped_path(entry.source.file), entry)
    folder = models_dir() / entry.name
    damage = damage_of(folder)
    if damage is not None:
        raise ModelError(f"the model {damage}", entry.name, f"auricle models pull {entry.name}")
    return ResolvedModel(entry.name, folder, entry)


def is_built_in(entry: CatalogueEntry) -> bool:
    """Whether a model is here without being pulled."""
    if isinstance(entry.source, ShippedSource):
        return _checkpoint(entry.source.file).is_file()
    return isinstance(entry.source, EmbeddedSource)


def shipped_path(file: str) -> Path:
    """Return where a checkpoint that comes with Auricle lies; raises ModelError when it is not there."""
    path = _checkpoint(file)
    if not path.is_file():
        remedy = "install auricle again, or give the path of another model"
        raise ModelError("this installation of auricle lacks a checkpoint", path, remedy)
    return path


def _checkpoint(file: str) -> Path:
    return Path(str(resources.files("auricle"))) / "checkpoints" / file


def _resolve_path(path: Path) -> ResolvedModel:
    """Name the model at a path by its record, if it was pulled; a copy of one must be whole."""
    record = read_record(path)
    if record is None:
        return ResolvedModel(path.name, path, None)
    damage = damage_of(path)
    if damage is not None:
        raise ModelError(f"the model {damage}", path, f"copy it again, or auricle models pull {record.name}")
    return ResolvedModel(record.name, path, catalogue().get(record.name))


def list_pulled() -> tuple[PulledModel, ...]:
    """The whole models in the store, by name."""
    root = models_dir()
    found = []
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        record = None if folder.name.startswith(".") else read_record(folder)
        if record is not None and damage_of(folder) is None:
            found.append(PulledModel(folder.name, folder, size_on_disk(folder), record))
    return tuple(found)


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def read_record(folder: Path) -> ModelRecord | None:
    """Read the record of a pulled folder; None when there is none that can be read."""
    try:
        return ModelRecord.model_validate_json((folder / RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None


def damage_of(folder: Path) -> str | None:
    """What keeps a folder from being a whole pulled model, judged by its record and the sizes of its files."""
    record = read_record(folder)
    if record is None:
        return "has no record of being pulled" if folder.exists() else "was not pulled yet"
    for file in record.files:
        path = folder / file.path
        if not path.is_file():
            return f"lacks its file {file.path}"
        if path.stat().st_size != file.bytes:
            return f"has another {file.path} than the one pulled"
    return None


def _looks_like_a_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.startswith((".", "~"))
