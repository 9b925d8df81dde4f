"""Measure Qwen3-ASR on a card: stages, precisions, memory, batches, and decoding against transformers' `generate`.

    PYTHONPATH=src:. python -m bench.gpu_engines --size 0.6b --out qwen3-asr.json

It needs torch, transformers and numpy, and the folders `src`, `bench`, `tests` and `tools` of the repository. Models
have published sizes and random weights. The file is written anew after every precision, so that what was measured is
kept when a later one fails; a precision whose scores are not finite is noted as refused. `--device cpu` tries it all.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import Qwen3ASRForConditionalGeneration

from auricle.errors import AuricleError
from auricle.qwen3.model import Qwen3Asr
from auricle.qwen3.precision import DTYPES, Precisions
from auricle.qwen3.stages import Meter
from auricle.trace import Tracer
from bench.gpu_card import environment
from tests.qwen3.checkpoints import configuration, network, recording, write
from tools.qwen3_speed import AUDIO, TEXT, theirs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

RATE_HZ = 16_000
PRECISIONS = (
    Precisions("fp32", "fp32"),
    Precisions("bf16", "bf16"),
    Precisions("fp16", "fp16"),
    Precisions("fp32", "fp16"),
)
LARGER_AUDIO = {
    "encoder_layers": 24,
    "encoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "d_model": 1024,
    "output_dim": 2048,
}
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tiny": ({}, {}),
    "0.6b": (AUDIO | {"downsample_hidden_size": 480}, TEXT),
    "1.7b": (LARGER_AUDIO | {"downsample_hidden_size": 480}, TEXT | {"hidden_size": 2048, "intermediate_size": 6144}),
}
CLIPS_S = (3.6, 11.0, 30.0)
BATCH_CLIP_S = 11.0
GENERATE_PROMPT = 158


class Bench:
    """A run over one size, on one device."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._device = torch.device(options.device)
        self._expected: list[str] = []

    def measure(self, precisions: Precisions) -> dict[str, Any]:
        """Return everything of one precision."""
        self._forget()
        start = time.perf_counter()
        model = Qwen3Asr(self._folder, precisions, self._device)
        found: dict[str, Any] = {"load_s": time.perf_counter() - start, "memory": self._memory(model)}
        found["stages"] = [self._stages(model, seconds) for seconds in self._options.clips]
        found["batches"] = [self._batch(model, rows) for rows in self._options.batches]
        found["texts"] = self._texts(model)
        if self._device.type == "cuda":
            found["peak_bytes"] = torch.cuda.max_memory_allocated(self._device)
        del model
        if precisions.encoder == precisions.decoder:
            found["generate"] = self._generate(precisions)
        return found

    def _stages(self, model: Qwen3Asr, seconds: float) -> dict[str, Any]:
        """Return the stages of one recording: the median of each over the runs, and the whole by the clock."""
        heard = [recording(int(seconds * RATE_HZ))]
        self._hear(model, heard)
        runs = [self._hear(model, heard) for _ in range(self._options.runs)]
        meters = [meter for meter, _ in runs]
        rows = meters[0].table()
        for place, row in enumerate(rows):
            for figure in ("ms", "ms_per_unit"):
                values = [meter.table()[place][figure] for meter in meters]
                row[figure] = None if None in values else statistics.median(float(str(value)) for value in values)
        return {
            "audio_s": seconds,
            "total_ms": 1e3 * statistics.median(total for _, total in runs),
            "stages": rows,
            "accounted": statistics.median(
                sum(one.seconds for one in meter.totals.values()) / total for meter, total in runs
            ),
            "by_context": meters[-1].by_context(),
            "steps": dict(meters[-1].steps),
        }

    def _batch(self, model: Qwen3Asr, rows: int) -> dict[str, Any]:
        """Return what recordings of different lengths take together."""
        heard = [recording(int(BATCH_CLIP_S * RATE_HZ * (0.5 + 0.5 * (row + 1) / rows)), row) for row in range(rows)]
        self._hear(model, heard)
        runs = [self._hear(model, heard) for _ in range(self._options.runs)]
        meter, total = min(runs, key=lambda run: run[1])
        decode = meter.totals["decode"]
        return {
            "rows": rows,
            "audio_s": sum(map(len, heard)) / RATE_HZ,
            "total_s": total,
            "times_real_time": sum(map(len, heard)) / RATE_HZ / total,
            "decode_tokens_s": decode.units / decode.seconds,
            "step_ms": 1e3 * decode.seconds / sum(meter.steps.values()),
            "steps": dict(meter.steps),
            "kv_bytes_copied": meter.totals["kv copy"].bytes,
        }

    def _texts(self, model: Qwen3Asr) -> dict[str, Any]:
        """Return in how many texts a precision agrees with the first one that was measured."""
        heard = [recording(int(seconds * RATE_HZ), 5) for seconds in self._options.clips]
        texts = [answer.text for answer in model.transcribe(heard, Meter(Tracer(), self._device))]
        self._expected = self._expected or texts
        same = sum(one == other for one, other in zip(texts, self._expected, strict=True))
        return {"texts": len(texts), "equal_to_the_first": same, "empty": sum(not text for text in texts)}

    def _generate(self, precisions: Precisions) -> dict[str, Any]:
        """Return the time of a decoding step of transformers' `generate`, by the number of rows."""
        model = Qwen3ASRForConditionalGeneration.from_pretrained(self._folder, dtype=DTYPES[precisions.decoder])
        model = model.to(self._device).eval()
        steps = {}
        for rows in self._options.batches:
            prompts = torch.randint(0, 200, (rows, GENERATE_PROMPT), device=self._device)
            theirs(model, prompts, 2)
            steps[rows] = 1e3 * statistics.median(theirs(model, prompts, self._options.generate_steps)[0])
        return {"prompt": GENERATE_PROMPT, "step_ms": steps}

    def _hear(self, model: Qwen3Asr, heard: Sequence[NDArray[np.float32]]) -> tuple[Meter, float]:
        meter = Meter(Tracer(), self._device)
        start = time.perf_counter()
        model.transcribe(heard, meter)
        return meter, time.perf_counter() - start

    def _memory(self, model: Qwen3Asr) -> dict[str, Any]:
        weights: dict[str, int] = {}
        for tensor in {id(each): each for each in model.stored}.values():
            name = str(tensor.dtype).removeprefix("torch.")
            weights[name] = weights.get(name, 0) + tensor.numel() * tensor.element_size()
        held = torch.cuda.memory_allocated(self._device) if self._device.type == "cuda" else None
        return {"weight_bytes": weights, "allocated_bytes": held, "kv_bytes_per_position": model.kv_bytes}

    def _forget(self) -> None:
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every precision and write what was found; return 1 where one failed."""
    options = _options(arguments)
    found: dict[str, Any] = {
        "size": options.size,
        "device": options.device,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "card": environment() if options.device == "cuda" else None,
        "precisions": {},
    }
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        audio, text = SIZES[options.size]
        write(Path(folder), network(0, configuration(audio=audio, text=text)))
        bench = Bench(options, Path(folder))
        for precisions in PRECISIONS:
            found["precisions"][str(precisions)] = _tried(partial(bench.measure, precisions))
            failed |= "failed" in found["precisions"][str(precisions)]
            options.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
            print(f"{precisions}: {'failed' if failed else 'measured'}", file=sys.stderr)
    return int(failed)


def _tried(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what was found, or why a precision was refused or failed."""
    try:
        return work()
    except AuricleError as error:
        return {"refused": str(error)}
    except RuntimeError as error:
        return {"failed": str(error)}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="0.6b")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--out", type=Path, default=Path("qwen3-asr.json"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--generate-steps", type=int, default=32)
    parser.add_argument("--clips", type=float, nargs="+", default=CLIPS_S, help="seconds")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
