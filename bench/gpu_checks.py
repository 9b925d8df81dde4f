"""Whether what runs on an accelerator is right: against the CPU, in each precision, and in blocks of other sizes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.device.model import DeviceModel
from auricle.fastconformer.device.streams import DeviceStreams
from auricle.fastconformer.model import tokenizer_of
from auricle.fastconformer.network import filled
from bench.gpu_live import play_all
from tests.fastconformer.checkpoints import build, recording

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.fastconformer.archive import Archive
    from auricle.fastconformer.precision import Precision
    from auricle.fastconformer.tokens import Token

TINY = ("rnnt_stream", "live_tdt")
LENGTHS = (1, 1480, 17_841, 40_000, 97_123, 61_000, 5000, 33_333)
ROWS, FEW = 64, 8


def parity() -> list[dict[str, object]]:
    """Return how far tiny models in single precision, through graphs and kernels, are from the CPU's operations."""
    audio = [recording(count, seed=count) for count in LENGTHS]
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in TINY:
            archive = read_archive(build(name, Path(folder)))
            here, there = (on_device(archive, kind) for kind in ("cuda", "cpu"))
            for latency, same in zip(here.classes, there.classes, strict=True):
                said = play_all(DeviceStreams(here, len(audio), (len(audio),)), latency, audio)
                wanted = play_all(DeviceStreams(there, len(audio), (len(audio),)), same, audio)
                found.append({"model": name, "chunk_ms": latency.chunk_ms, **apart(said, wanted)})
    return found


def on_device(archive: Archive, kind: str, precision: Precision = "fp32", beam: int = 1) -> DeviceModel:
    """Return a model for live streams on a kind of device."""
    network = filled(archive.config, dict(archive.weights))
    return DeviceModel(archive.config, network, tokenizer_of(archive), torch.device(kind), precision, beam)


def apart(said: Sequence[Sequence[Token]], wanted: Sequence[Sequence[Token]]) -> dict[str, object]:
    """Return how many tokens are not those that are wanted, and how far probabilities are apart."""
    pairs = [pair for one, other in zip(said, wanted, strict=True) for pair in zip(one, other, strict=False)]
    return {
        "recordings": len(wanted),
        "tokens": sum(map(len, wanted)),
        "token_errors": error_rate(_labels(wanted), _labels(said)) * sum(map(len, wanted)),
        "probability_apart": max((abs(one.probability - other.probability) for one, other in pairs), default=0.0),
    }


def agreement(
    model: Callable[[Precision], DeviceModel], audio: Sequence[NDArray[np.float32]], precisions: Sequence[Precision]
) -> list[dict[str, object]]:
    """Return how the tokens of each precision differ from those of fp32, and from its own in smaller blocks."""
    found: list[dict[str, object]] = []
    wanted: dict[int, list[list[int]]] = {}
    full: Precision = "fp32"
    for precision in (full, *precisions):
        one = model(precision)
        streams = DeviceStreams(one, ROWS, (FEW, ROWS))
        for latency in (one.classes[0], one.classes[-1]):
            said = _labels(play_all(streams, latency, audio))
            few = _labels(play_all(streams, latency, audio[: 2 * FEW], FEW))
            found.append(
                {
                    "precision": precision,
                    "chunk_ms": latency.chunk_ms,
                    "tokens": sum(map(len, said)),
                    "token_error_rate": error_rate(wanted.setdefault(latency.chunk_ms, said), said),
                    "differ_in_other_blocks": sum(a != b for a, b in zip(few, said, strict=False)) / len(few),
                    "error_rate_in_other_blocks": error_rate(said[: len(few)], few),
                }
            )
        del streams, one
        torch.cuda.empty_cache()
    return found


def _labels(said: Sequence[Sequence[Token]]) -> list[list[int]]:
    return [[token.index for token in tokens] for tokens in said]


def error_rate(wanted: Sequence[Sequence[int]], said: Sequence[Sequence[int]]) -> float:
    """Return the edit distance between token sequences over the number of tokens wanted."""
    total = 0
    for one, other in zip(wanted, said, strict=True):
        before = list(range(len(other) + 1))
        for turn, token in enumerate(one, 1):
            row = [turn]
            for place, heard in enumerate(other, 1):
                row.append(min(before[place] + 1, row[-1] + 1, before[place - 1] + (token != heard)))
            before = row
        total += before[-1]
    return total / max(1, sum(map(len, wanted)))
