"""The three files of a model, as torchaudio's pipeline names them, read without trusting them.

    emformer_rnnt_base_librispeech.pt      the weights, a state dict that `torch.save` wrote; or `.safetensors`
    global_stats_rnnt_librispeech.json     mean and inverse deviation of every mel band
    spm_bpe_4096_librispeech.model         the SentencePiece model

In a folder the only file of each ending is taken, whatever it is called.
"""

from __future__ import annotations

import json
import math
import pickle
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auricle.errors import ModelError
from auricle.tensors.safetensors import read_safetensors

if TYPE_CHECKING:
    from pathlib import Path

    import torch

RECORD_NAME = "auricle-model.json"
"""What the store writes beside the files of a model."""

_REMEDY = "get the model again"
_LARGEST_TOKENIZER_BYTES = 100_000_000
_LARGEST_STATISTICS_BYTES = 1_000_000
_MOST_MELS = 1024


@dataclass(frozen=True, slots=True)
class Statistics:
    """The mean of each mel band over the training data, and one over its deviation."""

    mean: tuple[float, ...]
    inverse_deviation: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where the files of a model lie."""

    weights: Path
    statistics: Path
    tokenizer: Path

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return (self.weights.name, self.statistics.name, self.tokenizer.name)


def find(folder: Path) -> ModelFiles:
    """Find the files in a folder; raises ModelError when one is missing or there are several."""
    if not folder.is_dir():
        raise ModelError("an Emformer model is a folder", folder, "give the folder of its three files")
    return ModelFiles(
        _only(folder, "weights", ".pt", ".safetensors"),
        _only(folder, "global statistics", ".json"),
        _only(folder, "SentencePiece model", ".model"),
    )


def read_statistics(path: Path) -> Statistics:
    """Read the global statistics; raises ModelError for other than two lists of numbers, equally long."""
    try:
        values = json.loads(_read(path, _LARGEST_STATISTICS_BYTES))
    except (ValueError, RecursionError) as error:
        raise ModelError("the global statistics are no JSON", path, _REMEDY) from error
    match values:
        case {"mean": list() as mean, "invstddev": list() as inverse}:
            numbers = (*mean, *inverse)
        case _:
            raise ModelError("the global statistics lack `mean` or `invstddev`", path, _REMEDY)
    finite = all(isinstance(one, int | float) and math.isfinite(one) for one in numbers)
    if not finite or len(mean) != len(inverse) or not 0 < len(mean) <= _MOST_MELS:
        raise ModelError("the global statistics are not two equal lists of numbers", path, _REMEDY)
    return Statistics(tuple(map(float, mean)), tuple(map(float, inverse)))


def read_tokenizer(path: Path) -> bytes:
    """Read the bytes of the SentencePiece model."""
    return _read(path, _LARGEST_TOKENIZER_BYTES)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors by name; nothing in the file is executed. Raises ModelError for a damaged file."""
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    import torch

    try:
        values: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = "the weights hold more than tensors, which is never executed"
        raise ModelError(what, path, "save the model's state dict, not the model") from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError("the weights are damaged or truncated", path, _REMEDY) from error
    if not isinstance(values, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in values.items()
    ):
        raise ModelError("the weights are not a table of named tensors", path, "save the model's state dict")
    return values


def _only(folder: Path, what: str, *endings: str) -> Path:
    found = [path for ending in endings for path in sorted(folder.glob(f"*{ending}")) if path.name != RECORD_NAME]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or f"no {' or '.join(endings)}"
        raise ModelError(f"there must be one file of {what} in the folder", f"{folder}: {names}", _REMEDY)
    return found[0]


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise ModelError("a file of the model is larger than it can be", path, _REMEDY)
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read a file of the model ({error.strerror})", path, _REMEDY) from error
