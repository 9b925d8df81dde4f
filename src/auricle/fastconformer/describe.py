"""What an archive holds and costs, as plain data: for people who choose a model, and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from auricle.errors import UnsupportedError
from auricle.fastconformer.cards import smallest_card
from auricle.fastconformer.config import SUBSAMPLING
from auricle.fastconformer.memory import BATCH_BYTES, RECORDING_BYTES, STATE_BYTES, longest_s, slot_bytes, slot_values
from auricle.fastconformer.streaming.latency import latency_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import torch

    from auricle.fastconformer.config import ModelConfig
    from auricle.fastconformer.precision import Precision

MEASURED_BATCHES = (1, 8)
MEASURED_S = (10, 30)
MEASURED_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")
STREAMS = 1000
"""So many live streams are asked to fit on a card."""

_TRANSDUCERS = {False: "RNN-T", True: "TDT"}


@dataclass(frozen=True, slots=True)
class WeightCount:
    """Weights of one data type: how many values and how many bytes they take."""

    dtype: str
    count: int
    bytes: int


def describe(path: Path) -> dict[str, Any]:
    """Read and check the archive or folder at `path` and return what it holds, as a table fit for JSON.

    Peaks of memory are measured by running the networks on silence, one layer of them; fp16 takes what bf16 does.
    Raises what `loading.load` does.
    """
    from auricle.fastconformer.loading import check_installed, read

    check_installed()
    from auricle.fastconformer.model import FastConformer

    archive = read(path)
    config = archive.config
    model = FastConformer(archive)
    live, memory = _live(config), _memory(config)
    return {
        "file": path.name,
        "family": family_name(config),
        "decoders": list(model.decoders),
        "parameters": model.parameters,
        "weights": [asdict(one) for one in count_weights(archive.weights.values())],
        "architecture": _architecture(config),
        "contexts": [asdict(context) for context in config.encoder.contexts],
        **live,
        "memory": memory,
        "precisions": [
            _precision(config, one, memory["peaks"], live["latency_classes"]) for one in MEASURED_PRECISIONS
        ],
    }


def family_name(config: ModelConfig) -> str:
    """Return what people call this kind of model, such as `FastConformer TDT + CTC`."""
    heads = [] if config.transducer is None else [_TRANSDUCERS[bool(config.transducer.durations)]]
    return "FastConformer " + " + ".join(heads if config.family == "transducer" else [*heads, "CTC"])


def count_weights(values: Iterable[torch.Tensor]) -> list[WeightCount]:
    """Count tensors by data type, the largest part first."""
    counts: dict[str, WeightCount] = {}
    for value in values:
        dtype = str(value.dtype).removeprefix("torch.")
        known = counts.get(dtype, WeightCount(dtype, 0, 0))
        size = value.numel() * value.element_size()
        counts[dtype] = WeightCount(dtype, known.count + value.numel(), known.bytes + size)
    return sorted(counts.values(), key=lambda one: -one.bytes)


def _architecture(config: ModelConfig) -> dict[str, Any]:
    encoder = asdict(config.encoder)
    del encoder["contexts"]
    return {
        "features": asdict(config.features),
        "encoder": encoder | {"subsampling": SUBSAMPLING, "frame_ms": round(config.frame_s * 1000, 3)},
        "transducer": None if config.transducer is None else asdict(config.transducer),
        "vocabulary": config.vocabulary,
        "languages": None if config.prompts is None else [name for name, _ in config.prompts.languages],
    }


def _live(config: ModelConfig) -> dict[str, Any]:
    """Return the latency classes and what a stream costs at each, or why there are none."""
    try:
        classes = latency_classes(config)
    except UnsupportedError as error:
        return {"latency_classes": [], "not_live": str(error)}
    rows = []
    for latency in classes:
        values = slot_values(config, latency)
        row = {
            "left": latency.left,
            "right": latency.frames - 1,
            "chunk_ms": latency.chunk_ms,
            "lookahead_ms": latency.lookahead_ms,
            "slot_values": asdict(values),
            "slot_bytes": {name: slot_bytes(config, latency, name) for name in STATE_BYTES},
        }
        rows.append(row)
    return {"latency_classes": rows, "not_live": None}


def _memory(config: ModelConfig) -> dict[str, Any]:
    return {
        "peaks": [
            {
                "precision": precision,
                "batch": batch,
                "seconds": seconds,
                "bytes": _peak_bytes(config, [seconds] * batch, precision),
            }
            for precision in MEASURED_PRECISIONS
            for batch in MEASURED_BATCHES
            for seconds in MEASURED_S
        ],
        "measured": "bytes of tensors alive at once, weights left out, in a run of one layer on silence",
        "batch_bytes": BATCH_BYTES,
        "recording_bytes": RECORDING_BYTES,
        "longest_s": longest_s(config),
    }


def _peak_bytes(config: ModelConfig, seconds: Sequence[int], precision: Precision) -> int:
    from auricle.fastconformer.measure import peak_bytes

    return peak_bytes(config, [one * config.features.sample_rate for one in seconds], precision)


def _precision(
    config: ModelConfig, precision: Precision, peaks: Sequence[dict[str, Any]], classes: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return what the weights take at a precision, and the smallest cards for files and for live streams."""
    from auricle.fastconformer.measure import held

    weights = held(config, precision)
    taken = sum(one.bytes for one in weights)
    return {
        "precision": precision,
        "weights": [asdict(one) for one in weights],
        "bytes": taken,
        "card_files": smallest_card(taken + max(row["bytes"] for row in peaks if row["precision"] == precision)),
        "card_streams": {
            str(row["chunk_ms"]): smallest_card(taken + STREAMS * row["slot_bytes"][precision]) for row in classes
        },
    }
