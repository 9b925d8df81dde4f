"""The files of a folder as transformers 5 writes it, read without trusting them.

`config.json`, the processor's configuration, `tokenizer.json`, and the weights in one safetensors file or in several
with an index. No name in them leads out of the folder; weights as pickles are not read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from auricle.errors import ModelError
from auricle.fastconformer.archive import Archive
from auricle.fastconformer.filters import filterbank
from auricle.fastconformer.huggingface.names import pairs, renamed
from auricle.fastconformer.huggingface.reading import KINDS, TOKENIZER_FILE, kind_of, parse_config
from auricle.fastconformer.huggingface.tokens import sentencepiece_model
from auricle.tensors.safetensors import read_safetensors

if TYPE_CHECKING:
    from pathlib import Path

    import torch

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PROCESSOR_FILE = "processor_config.json"
OLD_PROCESSOR_FILE = "preprocessor_config.json"
_LARGEST_JSON_BYTES = 64 << 20
_REMEDY = "get the folder again; it must be what transformers' `save_pretrained` of the model and its processor writes"


def holds_model(path: Path) -> bool:
    """Whether a path is a folder with a model of a kind that `read_folder` reads."""
    try:
        return _json(path / CONFIG_FILE).get("model_type") in KINDS
    except (ModelError, TypeError):
        return False


def read_folder(path: Path) -> Archive:
    """Read the folder at `path`, its weights in memory on the CPU.

    Raises ModelError for a file that is missing, truncated or damaged, and UnsupportedError naming the first option
    that this runtime cannot honour.
    """
    values = _json(path / CONFIG_FILE)
    config = parse_config(values, _processor(path))
    tokenizer = sentencepiece_model(_json(path / TOKENIZER_FILE), config.vocabulary)
    key_map = pairs(streaming=kind_of(values).streaming)
    weights = renamed(_weights(path), [(theirs, ours) for ours, theirs in key_map])
    return Archive(config, weights | filterbank(config.features), tokenizer)


def _processor(path: Path) -> dict[str, Any]:
    """Return the processor's configuration; transformers 4 writes the feature extractor's to a file of its own."""
    processor = _json(path / PROCESSOR_FILE) if (path / PROCESSOR_FILE).is_file() else {}
    if "feature_extractor" in processor:
        return processor
    return processor | {"feature_extractor": _json(path / OLD_PROCESSOR_FILE)}


def _weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights by their names in the folder; the index of a model in several files must name them all."""
    if (path / WEIGHTS_FILE).is_file() or not (path / INDEX_FILE).is_file():
        return read_safetensors(path / WEIGHTS_FILE)
    places = _json(path / INDEX_FILE).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise ModelError("the index of the weights is malformed", path / INDEX_FILE, _REMEDY)
    weights: dict[str, torch.Tensor] = {}
    for name in sorted(set(places.values())):
        if name in {"", ".", ".."} or set(name) & set("/\\:\0"):
            raise ModelError("the index of the weights leads out of the folder", name, _REMEDY)
        found = read_safetensors(path / name)
        if found.keys() != {key for key, place in places.items() if place == name}:
            raise ModelError("the index of the weights does not tell what a file holds", path / name, _REMEDY)
        weights |= found
    return weights


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_JSON_BYTES:
            raise ModelError("a file of the model is larger than it can be", path, _REMEDY)
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read a file of the model ({error.strerror})", path, _REMEDY) from error
    except (ValueError, RecursionError) as error:
        raise ModelError("a file of the model is no JSON", path, _REMEDY) from error
    if not isinstance(values, dict):
        raise ModelError("a file of the model holds no table", path, _REMEDY)
    return values
