"""What can be told of a model from its files, without loading it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from auricle.errors import ModelError, NotInstalledError
from auricle.models.catalogue import catalogue
from auricle.models.onnx_graph import read_graph
from auricle.models.store import RECORD_NAME, ResolvedModel, read_record, resolve, size_on_disk

if TYPE_CHECKING:
    from pathlib import Path


def inspect(name_or_path: str) -> dict[str, Any]:
    """Describe a model as a table fit for JSON: its catalogue entry, its record, and each file with its size.

    An ONNX file has its `graph` (metadata, weights by data type, quantised operators, inputs, outputs, opset,
    external data), or the `problem` that keeps it from being read. A model of the catalogue that is not here whole has
    its `problem` too. Raises ModelError when there is no such model.
    """
    problem = None
    try:
        model = resolve(name_or_path)
    except ModelError as error:
        entry = catalogue().get(name_or_path)
        if entry is None:
            raise
        model, problem = ResolvedModel(entry.name, None, entry), str(error)
    root = model.path
    record = None if root is None else read_record(root)
    return {
        "name": model.name,
        "problem": problem,
        "path": None if root is None else str(root),
        "bytes": None if root is None else size_on_disk(root),
        "catalogue": None if model.entry is None else model.entry.model_dump(mode="json"),
        "origin": None if record is None else record.origin,
        "pulled_at": None if record is None else record.pulled_at,
        "files": [] if root is None else [_describe(path, root) for path in _files(root)],
    }


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name != RECORD_NAME)


def _describe(path: Path, root: Path) -> dict[str, Any]:
    name = path.name if path == root else path.relative_to(root).as_posix()
    described: dict[str, Any] = {"path": name, "bytes": path.stat().st_size}
    if path.suffix == ".onnx":
        try:
            described["graph"] = asdict(read_graph(path))
        except (ModelError, NotInstalledError) as error:
            described["problem"] = str(error)
    return described
