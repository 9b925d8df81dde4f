"""What a folder holds that onnx-asr could load: which kind of model, which files, in which precision, and the limits.

onnx-asr normalises every mel over the whole recording. NeMo's streaming models are trained without that (`NA`), so they
would be given features they never saw; they are recognised by their caches or by their metadata, and refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.errors import ModelError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIXES: Mapping[str | None, tuple[str, ...]] = {
    None: ("", ".int8"),
    "fp32": ("", ".fp32"),
    "fp16": (".fp16",),
    "int8": (".int8",),
}
"""By precision, what stands between a graph's name and `.onnx`; without a wish the full one first, as in onnx-asr."""

TRANSDUCER = ("encoder-model", "decoder_joint-model")
GRAPHS: Mapping[str, tuple[str, ...]] = {
    "nemo-conformer-ctc": ("model",),
    "nemo-conformer-rnnt": TRANSDUCER,
    "nemo-conformer-tdt": TRANSDUCER,
}
PER_FEATURE = "per_feature"
CONFIG, VOCABULARY = "config.json", "vocab.txt"


@dataclass(frozen=True, slots=True)
class Found:
    """A model: its kind by onnx-asr's name, the graphs, and the infix that onnx-asr calls a quantisation."""

    folder: Path
    kind: str
    graphs: tuple[Path, ...]
    quantization: str | None


def find_model(folder: Path, precision: str | None) -> Found:
    """Read a folder; raises ModelError for what is no model of these kinds, UnsupportedError for one to refuse."""
    kind = _kind(folder)
    if not (folder / VOCABULARY).is_file():
        raise ModelError("the model lacks its vocabulary", folder / VOCABULARY, "export it again")
    for suffix in SUFFIXES[precision]:
        graphs = tuple(folder / f"{name}{suffix}.onnx" for name in GRAPHS[kind])
        if all(graph.is_file() for graph in graphs):
            return Found(folder, kind, graphs, suffix.removeprefix(".") or None)
    wanted = ", ".join(f"{name}{SUFFIXES[precision][0]}.onnx" for name in GRAPHS[kind])
    raise ModelError("the model lacks its graphs in this precision", f"{folder}: {wanted}", "choose another precision")


def check_features(inputs: set[str], metadata: Mapping[str, str], where: Path) -> None:
    """Raise UnsupportedError for a graph that was trained on features that onnx-asr does not compute."""
    if any(name.startswith("cache_last_") for name in inputs):
        what = "onnx-asr normalises each mel over the recording, which streaming models are trained without"
        raise UnsupportedError(what, where, "use sherpa-onnx or fastconformer")
    normalised = metadata.get("normalize_type", PER_FEATURE)
    if normalised != PER_FEATURE:
        what = "onnx-asr normalises each mel over the recording, which this model is trained without"
        raise UnsupportedError(what, f"{where}: normalize_type {normalised!r}", "use sherpa-onnx or fastconformer")


def _kind(folder: Path) -> str:
    path = folder / CONFIG
    try:
        kind = json.loads(path.read_text(encoding="utf-8"))["model_type"]
    except FileNotFoundError as error:
        raise ModelError("the model lacks its configuration", path, '{"model_type": ...} says its kind') from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError("the model's configuration cannot be read", path, "it must name a model_type") from error
    if kind not in GRAPHS:
        raise UnsupportedError("not a kind of model that is run here by onnx-asr", kind, f"known: {', '.join(GRAPHS)}")
    return str(kind)
