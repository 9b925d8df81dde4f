"""The members of a `.nemo` archive that inference needs, read without trusting it.

A `.nemo` file is a tar, plain or gzipped: `model_config.yaml`, `model_weights.ckpt` (a zip of tensors) and the files of
the tokenizer. Nothing is unpacked to the disk, so that no name in it can lead anywhere; sizes are bounded before
anything is read; of the pickle within the weights only tensors are allowed.
"""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from auricle.errors import ModelError
from auricle.fastconformer.reading import parse_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from auricle.fastconformer.config import ModelConfig

CONFIG_MEMBER = "model_config.yaml"
WEIGHTS_MEMBER = "model_weights.ckpt"
_MOST_MEMBERS = 1_000
_LARGEST_CONFIG_BYTES = 16 << 20
_LARGEST_TOKENIZER_BYTES = 64 << 20
_LARGEST_GZIP_RATIO = 20
_ALWAYS_ALLOWED_BYTES = 64 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, ValueError)
_REMEDY = "get the archive again; a `.nemo` file is what NeMo's `save_to` writes"


@dataclass(frozen=True, slots=True)
class Archive:
    """What was read: the configuration, the weights by NeMo's names, and the SentencePiece model as bytes."""

    config: ModelConfig
    weights: Mapping[str, torch.Tensor]
    tokenizer: bytes


def read_archive(path: Path) -> Archive:
    """Read the archive at `path`, its weights in memory on the CPU.

    Raises ModelError for a file that is missing, truncated, damaged, or larger inside than it can honestly be, and
    UnsupportedError naming the first option that this runtime cannot honour.
    """
    if not path.is_file():
        raise ModelError("there is no such archive", path, "give the path of a `.nemo` file")
    try:
        with _plain(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            members = _members(tar, path)
            config = parse_config(_yaml(_read(tar, members, CONFIG_MEMBER, _LARGEST_CONFIG_BYTES, path), path))
            tokenizer = _read(tar, members, config.tokenizer, _LARGEST_TOKENIZER_BYTES, path)
            weights = _weights(tar, members, path)
    except ModelError:
        raise
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise ModelError(f"the archive is damaged or truncated ({error})", path, _REMEDY) from error
    return Archive(config, weights, tokenizer)


def _plain(path: Path) -> IO[bytes]:
    """Open the tar; one that is gzipped is unpacked in memory, as far as a model's weights can honestly shrink."""
    with path.open("rb") as file:
        if file.read(len(_GZIP_MAGIC)) != _GZIP_MAGIC:
            return path.open("rb")
    limit = max(_LARGEST_GZIP_RATIO * path.stat().st_size, _ALWAYS_ALLOWED_BYTES)
    with gzip.open(path) as packed:
        data = packed.read(limit + 1)
    if len(data) > limit:
        raise ModelError("the archive holds more than a model can", path, _REMEDY)
    return io.BytesIO(data)


def _members(tar: tarfile.TarFile, path: Path) -> dict[str, tarfile.TarInfo]:
    """Return the plain files of the archive by name, with no more than one of each name."""
    members: dict[str, tarfile.TarInfo] = {}
    for count, member in enumerate(tar, start=1):
        if count > _MOST_MEMBERS:
            raise ModelError("the archive holds more than a model can", path, _REMEDY)
        name = str(PurePosixPath(member.name))
        if member.isreg() and name in members:
            raise ModelError(f"the archive holds {name!r} twice", path, _REMEDY)
        if member.isreg():
            members[name] = member
    return members


def _open(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str, path: Path) -> IO[bytes]:
    file = tar.extractfile(members[name]) if name in members else None
    if file is None:
        raise ModelError(f"the archive holds no {name!r}", path, _REMEDY)
    return file


def _read(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str, limit: int, path: Path) -> bytes:
    file = _open(tar, members, name, path)
    if members[name].size > limit:
        raise ModelError(f"{name!r} in the archive is larger than it can be", path, _REMEDY)
    data = file.read()
    if len(data) != members[name].size:
        raise ModelError(f"the archive is truncated within {name!r}", path, _REMEDY)
    return data


def _yaml(data: bytes, path: Path) -> Mapping[str, object]:
    import yaml

    try:
        # PyYAML's loader in C would be faster, and dies of brackets nested deeply enough.
        values = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ModelError(f"{CONFIG_MEMBER!r} in the archive is not YAML", path, _REMEDY) from error
    if not isinstance(values, dict):
        raise ModelError(f"{CONFIG_MEMBER!r} in the archive holds no options", path, _REMEDY)
    return values


def _weights(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors from where they lie in the tar."""
    import torch

    file = _open(tar, members, WEIGHTS_MEMBER, path)
    size = members[WEIGHTS_MEMBER].size
    try:
        _check_stored(file)
        file.seek(0)
        values: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = f"{WEIGHTS_MEMBER!r} holds more than tensors, which is never executed"
        raise ModelError(what, path, "save the model again with a current NeMo, or do not use it") from error
    except _DAMAGED as error:
        raise ModelError(f"{WEIGHTS_MEMBER!r} is damaged or truncated", path, _REMEDY) from error
    if not isinstance(values, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in values.items()
    ):
        raise ModelError(f"{WEIGHTS_MEMBER!r} is not a table of named tensors", path, _REMEDY)
    if sum(value.numel() * value.element_size() for value in values.values()) > size:
        raise ModelError(f"{WEIGHTS_MEMBER!r} claims more values than it holds", path, _REMEDY)
    return values


def _check_stored(file: IO[bytes]) -> None:
    """Raise ValueError for compressed entries, which torch does not write and which could grow without bound."""
    with zipfile.ZipFile(file) as weights:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in weights.infolist()):
            raise ValueError("compressed tensors")
