"""What a folder of graphs says of itself: the model, how it was written, and the hash of every file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from auricle.errors import ModelError
from auricle.fastconformer.config import AttentionContext, ModelConfig  # noqa: TC001  pydantic reads them

MANIFEST = "manifest.json"
WEIGHTS = "model.weights"
TOKENIZER = "tokenizer.model"
FEATURES = "features.npz"
LIVE, FILES = "encoder-live.onnx", "encoder.onnx"
PREDICTION, PROJECTION, JOINT, CTC = "prediction.onnx", "projection.onnx", "joint.onnx", "ctc.onnx"

Layout = Literal["onnx", "sherpa-onnx", "onnx-asr"]
LAYOUTS: tuple[Layout, ...] = ("onnx", "sherpa-onnx", "onnx-asr")
ExportPrecision = Literal["fp32", "int8"]

_FORMAT = 1
_HASHED_BYTES = 64 << 20
_REMEDY = "export the model again"


class Stored(BaseModel):
    """Weights of one data type: how many values and how many bytes they take."""

    model_config = ConfigDict(frozen=True)

    dtype: str
    count: int
    bytes: int


class File(BaseModel):
    """One file of a folder."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """A folder of graphs. `context` is that of the encoder for files; `kept` layers are those that stayed in fp32."""

    model_config = ConfigDict(frozen=True)

    format: int
    layout: Layout
    auricle: str
    source: str
    source_sha256: str
    precision: ExportPrecision
    config: ModelConfig
    context: AttentionContext
    parameters: int
    weights: tuple[Stored, ...]
    kept: tuple[str, ...] = ()
    files: dict[str, File] = {}

    @classmethod
    def current(cls, **values: object) -> Manifest:
        """Return a manifest of the present format and version."""
        from auricle import __version__

        return cls.model_validate({"format": _FORMAT, "auricle": __version__, **values})

    def seal(self, folder: Path) -> Manifest:
        """Write the manifest of all files that are in the folder, and return it."""
        files = {
            path.name: File(bytes=path.stat().st_size, sha256=sha256(path))
            for path in sorted(folder.iterdir())
            if path.name != MANIFEST
        }
        sealed = self.model_copy(update={"files": files})
        (folder / MANIFEST).write_text(sealed.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return sealed


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a folder: every file is there with its size, and those below 64 MiB its hash.

    Raises ModelError for a folder that is none, or not whole.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelError("this is no folder that `auricle export` wrote: it has no manifest", folder, _REMEDY)
    try:
        manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise ModelError("the manifest is damaged or of another version", path, _REMEDY) from error
    if manifest.format != _FORMAT:
        raise ModelError(f"the manifest has format {manifest.format}, not {_FORMAT}", path, _REMEDY)
    for name, file in manifest.files.items():
        _check(folder, name, file)
    return manifest


def sha256(path: Path) -> str:
    """Return the hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(folder: Path, name: str, file: File) -> None:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise ModelError("a file of the exported model is missing", path, _REMEDY)
    if path.stat().st_size != file.bytes or (file.bytes < _HASHED_BYTES and sha256(path) != file.sha256):
        raise ModelError("a file of the exported model is not the one that was written", path, _REMEDY)
