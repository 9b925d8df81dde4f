"""Measure the FastConformer runtime on a CUDA card: parity, precisions, stages, live streams, files.

    PYTHONPATH=src:. python -m bench.gpu --out gpu.json

It needs Python 3.11 or newer, torch with CUDA and Triton, numpy, sentencepiece and pyyaml, and the folders `src`,
`bench`, `tests` and `tools` of the repository. The file is written anew after every part, so that what was measured is
kept when a later part fails; the exit status is then 1. Models have published sizes and random weights that say as much
as people do: see `gpu_model`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from auricle.fastconformer.device.model import DeviceModel
from auricle.fastconformer.device.streams import DeviceStreams
from auricle.fastconformer.network import filled
from auricle.fastconformer.tokens import Tokenizer
from auricle.fastconformer.tuning import Tuning, tune_process
from bench.gpu_card import ceilings, environment
from bench.gpu_checks import agreement, parity
from bench.gpu_features import features
from bench.gpu_files import file_model, offline
from bench.gpu_live import RATE_HZ, run
from bench.gpu_model import draw, sound, tokenizer
from bench.gpu_speech import speech
from bench.gpu_stages import stages
from bench.gpu_tuning import VARIED_S, compared
from tools.cpu_speed_models import VOCABULARY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auricle.fastconformer.precision import Precision
    from auricle.fastconformer.streaming.latency import LatencyClass

STREAMS = {80: 4000, 160: 4000, 560: 10_000, 1120: 12_000}
"""How many streams are aimed at, by the chunk's milliseconds."""

TICK_MS = 20
SPREAD = (0.7, 0.85, 1.0, 1.15, 1.4, 1.8)
"""Sizes of blocks, in shares of the streams that a tick has on average: arrivals are at random."""

ALIGNED_ROWS = 16
BATCH = 64
AGREEMENT_S, SOUND_S = 12, 30
STEPS = {80: 1024, 1120: 224}
"""The rows of the steps whose stages are timed."""


class Bench:
    """The parts of a run, by name."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def card(self) -> dict[str, float]:
        """What the card does at most."""
        return _ceilings()

    def parity(self) -> object:
        """Tiny models against the CPU."""
        return parity()

    def features(self) -> object:
        """Languages, key phrases, beams and int8, with tiny models against the CPU."""
        return features()

    def agreement(self) -> object:
        """The large model in each precision, and in blocks of other sizes."""
        audio = [clip[: AGREEMENT_S * RATE_HZ] for clip in _sound()]
        return agreement(_model, audio, self._options.precisions)

    def speech(self) -> object:
        """The shipped recogniser of digits on speech, in each precision."""
        return speech(self._options.speech, ("fp32", *self._options.precisions))

    def stages(self) -> object:
        """What a step is made of."""
        model = _model(self._options.precision)
        return [
            stages(model, latency, STEPS[latency.chunk_ms], _ceilings())
            for latency in model.classes
            if latency.chunk_ms in STEPS
        ]

    def live(self) -> object:
        """Streams in real time."""
        model, told = _model(self._options.precision), []
        for latency in model.classes:
            if latency.chunk_ms in self._options.chunks:
                for share in self._options.shares:
                    told.append(_serve(model, latency, int(share * STREAMS[latency.chunk_ms]), self._options.seconds))
                    _say(f"  {json.dumps(told[-1])}")
        return told

    def files(self) -> object:
        """Whole recordings."""
        return offline((self._options.precision, "fp32"), (BATCH,))

    def tuning(self) -> object:
        """Settings of torch, on and off."""
        model = file_model(self._options.precision)
        whole, sizes = sound(max(VARIED_S)), [RATE_HZ * seconds for seconds in VARIED_S]
        return compared(model, [np.resize(whole[:, :size], (BATCH, size)) for size in sizes], _settle)


@cache
def _ceilings() -> dict[str, float]:
    return ceilings()


@cache
def _sound() -> NDArray[np.float32]:
    return sound(SOUND_S)


@cache
def _drawn() -> Any:
    return draw("0.6b", _sound())


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer(tokenizer(), VOCABULARY)


def _model(precision: Precision) -> DeviceModel:
    config, weights, _ = _drawn()
    return DeviceModel(config, filled(config, weights), _tokenizer(), torch.device("cuda"), precision)


def _serve(model: DeviceModel, latency: LatencyClass, count: int, seconds: float) -> dict[str, object]:
    """Serve `count` streams, and tell what that took."""
    ticks = max(1, latency.chunk_ms // TICK_MS)
    sizes = {8, *(max(8, -(-int(count / ticks * share) // ALIGNED_ROWS) * ALIGNED_ROWS) for share in SPREAD)}
    start = time.perf_counter()
    streams = DeviceStreams(model, count, sorted(sizes))
    streams.prepare(latency)
    ready_s = time.perf_counter() - start
    told = run(streams, latency, count, ticks, seconds, _sound()).row()
    free, total = torch.cuda.mem_get_info()
    told |= {
        "precision": model.precision,
        "blocks": sorted(sizes),
        "ready_s": round(ready_s, 2),
        "bytes_per_slot": streams.bytes_per_slot,
        "memory_gib": round((total - free) / 2**30, 1),
    }
    del streams
    torch.cuda.empty_cache()
    return told


def _settle() -> int:
    """Wait for the card; return the bytes that it holds at most since the last time."""
    torch.cuda.synchronize()
    held = torch.cuda.max_memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    return held


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run the parts that were asked for; return the exit status."""
    options = _options()
    tune_process(Tuning())
    bench, failed = Bench(options), 0
    results: dict[str, object] = {"environment": environment()}
    for part in options.parts:
        start = time.perf_counter()
        try:
            results[part] = getattr(bench, part)()
        except Exception:  # noqa: BLE001  whatever broke one part, the others are measured, and this one is told
            failed = 1
            results[part] = {"failed": traceback.format_exc()}
        options.out.write_text(json.dumps(results, indent=1) + "\n")
        _say(f"{part} ({time.perf_counter() - start:.1f} s): {json.dumps(results[part])}")
    return failed


def _options() -> argparse.Namespace:
    known = ["card", "parity", "features", "agreement", "speech", "stages", "live", "files", "tuning"]
    parser = argparse.ArgumentParser(description="Measure the FastConformer runtime on a CUDA card.")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--parts", nargs="+", choices=known, default=[one for one in known if one != "speech"])
    parser.add_argument("--precision", default="bf16", help="of stages, streams and files")
    parser.add_argument("--precisions", nargs="+", default=["bf16", "fp16", "int8"], help="compared with fp32")
    parser.add_argument("--chunks", nargs="+", type=int, default=[80, 560, 1120], help="in ms, of live streams")
    parser.add_argument("--shares", nargs="+", type=float, default=[1.0], help="of the streams that are aimed at")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run of live streams")
    parser.add_argument("--speech", type=Path, help="recordings from `python -m bench.gpu_speech`")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
