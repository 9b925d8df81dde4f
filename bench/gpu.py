"""Measure the FastConformer runtime on an accelerator: parity, precisions, live streams, stages, files.

    python -m bench.gpu --out gpu.json [--parts ceilings,parity,agreement,live,stages,profile] [--seconds 60]

It needs Python 3.11 or newer, torch with CUDA and Triton, numpy, sentencepiece and pyyaml, and the folders `src`,
`bench`, `tests` and `tools` of the repository. Every part adds to the file as soon as it is done.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.device.decoder import Transducer
from auricle.fastconformer.device.files import DeviceFiles
from auricle.fastconformer.device.inputs import Row
from auricle.fastconformer.device.model import DTYPES, DeviceModel
from auricle.fastconformer.device.operations import operations_for
from auricle.fastconformer.device.placing import Placing
from auricle.fastconformer.device.streams import DeviceStreams
from auricle.fastconformer.network import filled
from bench.gpu_live import play_all, run
from bench.gpu_model import RATE_HZ, draw, draw_for_files, seconds_since, sound

if TYPE_CHECKING:
    from collections.abc import Callable

    from auricle.fastconformer.streaming.latency import LatencyClass

AIMS = {80: 4000, 160: 4000, 560: 10_000, 1120: 12_000}
PHASES = {80: 4, 160: 8, 560: 28, 1120: 56}
"""Ticks in a chunk's time: one every 20 ms."""


class Bench:
    """The measurements of one accelerator, written to `out` as they come."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device(options.device)
        self.results: dict[str, Any] = {}
        self._model: Any = None

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def keep(self, name: str, value: object) -> None:
        self.results[name] = value
        self.options.out.write_text(json.dumps(self.results, indent=1) + "\n")
        self.say(f"{name}: {json.dumps(value)[:2500]}")

    def drawn(self) -> Any:
        if self._model is None:
            start = time.perf_counter()
            self.audio = sound(30)
            self._model = draw(self.options.model, self.audio)
            self.keep(
                "model", {"size": self.options.model, "tokens_per_s": self._model[2], "drawn_s": seconds_since(start)}
            )
        return self._model

    def model(self, precision: str) -> DeviceModel:
        config, weights, _ = self.drawn()
        return DeviceModel(config, filled(config, weights), self.device, precision)

    def environment(self) -> None:
        properties = torch.cuda.get_device_properties(self.device) if self.device.type == "cuda" else None
        self.keep(
            "environment",
            {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "cuda": torch.version.cuda,
                "device": "cpu" if properties is None else properties.name,
                "memory_gib": None if properties is None else round(properties.total_memory / 2**30, 1),
                "date": time.strftime("%Y-%m-%d"),
            },
        )

    def ceilings(self) -> None:
        """What the card can do: a large copy, and a large product."""
        big = torch.empty(2 << 30, dtype=torch.uint8, device=self.device).random_(0, 255)
        other = torch.empty_like(big)
        copy_s = self.timed(lambda: other.copy_(big), 10)
        del big, other
        a = torch.randn(8192, 8192, device=self.device, dtype=torch.bfloat16)
        product_s = self.timed(lambda: a @ a, 10)
        self.keep(
            "ceilings", {"copy_TB_s": 2 * (2 << 30) / copy_s / 1e12, "bf16_TFLOP_s": 2 * 8192**3 / product_s / 1e12}
        )

    def timed(self, work: Callable[[], object], count: int = 20) -> float:
        """Return the median seconds of `work` by the device's own clock."""
        for _ in range(3):
            work()
        times = []
        for _ in range(count):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            work()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1000)
        return float(np.median(times))

    def parity(self) -> None:
        """Tiny models in single precision: the device against the CPU's plain operations, through graphs."""
        from tests.fastconformer.checkpoints import build, recording

        audio = [recording(count, seed=count) for count in (1, 1480, 17_841, 40_000, 97_123, 61_000, 5000, 33_333)]
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            for name in ("rnnt_stream", "live_tdt"):
                archive = read_archive(build(name, Path(folder)))
                models = [
                    DeviceModel(archive.config, filled(archive.config, dict(archive.weights)), device)
                    for device in (torch.device("cpu"), self.device)
                ]
                for index, latency in enumerate(models[0].classes):
                    said = [play_all(DeviceStreams(one, 8, (8,)), one.classes[index], audio) for one in models]
                    same = [
                        [t.index for t in one] == [t.index for t in other] for one, other in zip(*said, strict=True)
                    ]
                    apart = max(
                        (
                            abs(s.probability - t.probability)
                            for one, other in zip(*said, strict=True)
                            for s, t in zip(one, other)
                        ),
                        default=0.0,
                    )
                    found[f"{name} {latency.chunk_ms} ms"] = [sum(same), len(same), sum(map(len, said[0])), apart]
        self.keep("parity", found)

    def agreement(self) -> None:
        """The large model: each precision against fp32 on the device, and against itself in other block sizes."""
        self.drawn()
        recordings = [clip[: 12 * RATE_HZ] for clip in self.audio]
        found: dict[str, Any] = {}
        wanted: dict[int, list[list[int]]] = {}
        for precision in ("fp32", *self.options.precisions):
            model = self.model(precision)
            streams = DeviceStreams(model, 64, (8, 64))
            for latency in (model.classes[0], model.classes[-1]):
                said = [[t.index for t in one] for one in play_all(streams, latency, recordings)]
                few = [[t.index for t in one] for one in play_all(streams, latency, recordings[:16], lambda _: 8)]
                wanted.setdefault(latency.chunk_ms, said)
                found[f"{precision} {latency.chunk_ms} ms"] = {
                    "tokens": sum(map(len, said)),
                    "token_error_rate": errors(wanted[latency.chunk_ms], said),
                    "other_blocks_differ": sum(one != other for one, other in zip(few, said, strict=False)) / len(few),
                    "other_blocks_error_rate": errors(said[: len(few)], few),
                }
            del streams, model
            torch.cuda.empty_cache()
        self.keep("agreement", found)

    def live(self) -> None:
        """Streams in real time, for each class as many as are aimed at, and with fewer or more where asked."""
        model = self.model(self.options.precision)
        told: list[dict[str, object]] = []
        for latency in model.classes:
            if latency.chunk_ms not in self.options.chunks:
                continue
            for share in self.options.shares:
                count = int(AIMS[latency.chunk_ms] * share)
                told.append(self.one(model, latency, count))
                self.keep("live", told)

    def one(self, model: DeviceModel, latency: LatencyClass, count: int) -> dict[str, object]:
        phases = PHASES[latency.chunk_ms]
        each = count / phases
        sizes = sorted(
            {8, *(max(8, int(np.ceil(each * factor / 16)) * 16) for factor in (0.7, 0.85, 1.0, 1.15, 1.4, 1.8))}
        )
        start = time.perf_counter()
        torch.cuda.reset_peak_memory_stats()
        streams = DeviceStreams(model, count, sizes)
        streams.prepare(latency)
        ready_s = seconds_since(start)
        told = run(streams, latency, count, phases, self.options.seconds, self.audio).row()
        free, total = torch.cuda.mem_get_info()
        told |= {
            "precision": model.precision,
            "sizes": sizes,
            "ready_s": ready_s,
            "bytes_per_slot": streams.bytes_per_slot,
            "memory_gib": round((total - free) / 2**30, 1),
            "run_s": seconds_since(start),
        }
        del streams
        torch.cuda.empty_cache()
        return told

    def stages(self) -> None:
        """What each stage of a step takes as a graph of its own, and its share of the roofline."""
        model = self.model(self.options.precision)
        found = {}
        for latency, size in ((model.classes[-1], 1024), (model.classes[0], 256)):
            streams = DeviceStreams(model, size, (size,))
            streams.prepare(latency)
            step = streams._steps[latency][size]
            with torch.inference_mode():
                inputs, pool, walks = step.inputs, streams._pool, step._walks
                table = inputs._table
                table[0, :] = np.arange(size)
                table[1, :] = 20
                table[4, :] = latency.frames
                inputs.send()
                features = model.features(inputs, pool)
                frames = model.encoder(features, inputs, latency, pool)
                times = {
                    "whole": self.timed(step._graphs[0].replay),
                    "features": self.graphed(lambda: model.features(inputs, pool)),
                    "pre_encode": self.graphed(
                        lambda: model.encoder._pre_encode(features.to(model.dtype), pool.rows, inputs)
                    ),
                    "encoder": self.graphed(lambda: model.encoder(features, inputs, latency, pool)),
                    "begin": self.graphed(lambda: model.decoder.begin(walks, frames, inputs.frames)),
                    "iteration": self.graphed(lambda: model.decoder.iterate(walks, 1)),
                }
            found[f"{latency.chunk_ms} ms x {size}"] = {key: round(1000 * value, 3) for key, value in times.items()} | {
                "iterations": step.iterations
            }
            del streams
        self.keep("stages_ms", found)

    def variants(self) -> None:
        """How many warps each attention kernel likes."""
        from auricle.fastconformer.device.triton_operations import TritonOperations

        found = {}
        for warps in (2, 4, 8):
            TritonOperations.one_warps = TritonOperations.many_warps = warps
            model = self.model(self.options.precision)
            for latency, size in ((model.classes[-1], 1024), (model.classes[0], 256)):
                streams = DeviceStreams(model, size, (size,))
                streams.prepare(latency)
                inputs = streams._steps[latency][size].inputs
                inputs._table[0, :], inputs._table[1, :], inputs._table[4, :] = np.arange(size), 20, latency.frames
                inputs.send()
                rows = torch.randn(size * latency.frames, 3 * 1024, device=self.device, dtype=model.dtype)
                places, pool = model.encoder._layers[0].places[latency], streams._pool
                with torch.inference_mode():
                    found[f"{latency.chunk_ms} ms x {size}, {warps} warps"] = 1e6 * self.graphed(
                        lambda: model.encoder._operations.attend(
                            rows, places, pool.keys[0], pool.values[0], inputs, latency
                        )
                    )
                del streams
            del model
        TritonOperations.one_warps, TritonOperations.many_warps = 4, 2
        model = self.model(self.options.precision)
        for bands, warps in ((8, 4), (8, 8), (16, 4), (16, 8), (32, 8)):
            TritonOperations.bands, TritonOperations.band_warps = bands, warps
            latency, size = model.classes[0], 256
            streams = DeviceStreams(model, size, (size,))
            streams.prepare(latency)
            inputs = streams._steps[latency][size].inputs
            inputs._table[0, :], inputs._table[1, :], inputs._table[4, :] = np.arange(size), 20, latency.frames
            inputs.send()
            features = torch.randn(size, 8 * latency.frames, 128, device=self.device)
            with torch.inference_mode():
                found[f"pre-encode, {bands} bands, {warps} warps"] = 1e6 * self.graphed(
                    lambda: model.encoder._pre_encode(features.to(model.dtype), streams._pool.rows, inputs)
                )
            rows = [Row(slot, 3, self.audio[slot % 64, : latency.chunk_samples]) for slot in range(size)]
            starts = [time.perf_counter()]
            for _ in range(20):
                inputs.put(rows)
                starts.append(time.perf_counter())
            found["put"] = 1e6 * float(np.median(np.diff(starts)))
            del streams
        TritonOperations.bands, TritonOperations.band_warps = 8, 4
        self.keep("attention_us", found)

    def files(self) -> None:
        """Whole recordings in batches: features, encoder and TDT decoding, from host memory to tokens."""
        config, weights = draw_for_files(sound(6, 8))
        audio = list(sound(25)[:, : 25 * RATE_HZ])
        found: dict[str, Any] = {}
        for precision in (self.options.precision, "fp32"):
            with torch.inference_mode():
                placing = Placing(self.device, DTYPES[precision])
                plain = filled(config, dict(weights))
                decoder = Transducer(
                    config.transducer,
                    plain.decoder,
                    plain.joint,
                    config.vocabulary,
                    placing,
                    operations_for(self.device),
                )
                network = filled(config, dict(weights), precision).to(self.device)
            files = DeviceFiles(network, decoder, self.device)
            for batch in (64, 128) if precision != "fp32" else (64,):
                clips = [*audio, *audio][:batch]
                times = []
                for _ in range(5):
                    marks = [time.perf_counter()]
                    heard = files.features(clips)
                    torch.cuda.synchronize()
                    marks.append(time.perf_counter())
                    encoded = files.encode(*heard, config.encoder.contexts[0])
                    torch.cuda.synchronize()
                    marks.append(time.perf_counter())
                    tokens = files.decode(*encoded)
                    marks.append(time.perf_counter())
                    times.append(np.diff(marks))
                stages = np.median(times[1:], axis=0)
                total = float(np.median([each.sum() for each in times[1:]]))
                found[f"{precision} x {batch}"] = {
                    "rtfx": 25 * batch / total,
                    "ms": [round(1000 * float(each), 2) for each in stages],
                    "tokens_per_s": sum(map(len, tokens)) / (25 * batch),
                    "graphed": files.runs.graphed,
                    "eager": files.runs.eager,
                }
            del network, decoder, files
        self.keep("files", found)

    def graphed(self, work: Callable[[], object]) -> float:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            work()
            work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return self.timed(graph.replay)

    def profile(self) -> None:
        """Which kernels take the time of a step, run operation by operation."""
        from torch.profiler import ProfilerActivity, profile

        model = self.model(self.options.precision)
        for latency, size in ((model.classes[-1], 1024), (model.classes[0], 256)):
            streams = DeviceStreams(model, size, (size,), graphs=False)
            streams.prepare(latency)
            step = streams._steps[latency][size]
            with torch.inference_mode():
                step.inputs._table[0, :] = np.arange(size)
                step.inputs._table[1, :] = 20
                step.inputs._table[4, :] = latency.frames
                step._first()
                torch.cuda.synchronize()
                with profile(activities=[ProfilerActivity.CUDA]) as seen:
                    step._first()
                    torch.cuda.synchronize()
            rows = sorted(seen.key_averages(), key=lambda row: -row.self_device_time_total)[:28]
            self.keep(
                f"profile {latency.chunk_ms} ms x {size}",
                [(row.key[:60], row.count, round(row.self_device_time_total)) for row in rows],
            )


def errors(wanted: list[list[int]], said: list[list[int]]) -> float:
    """Return the edit distance between token sequences over the number of tokens wanted."""
    total = 0
    for one, other in zip(wanted, said, strict=True):
        before = list(range(len(other) + 1))
        for i, token in enumerate(one, 1):
            row = [i]
            for j, heard in enumerate(other, 1):
                row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (token != heard)))
            before = row
        total += before[-1]
    return total / max(1, sum(map(len, wanted)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="0.6b")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--precisions", type=lambda text: text.split(","), default=["bf16", "fp16"])
    parser.add_argument(
        "--parts", type=lambda text: text.split(","), default=["ceilings", "parity", "agreement", "stages", "live"]
    )
    parser.add_argument("--chunks", type=lambda text: [int(one) for one in text.split(",")], default=[80, 560, 1120])
    parser.add_argument("--shares", type=lambda text: [float(one) for one in text.split(",")], default=[1.0])
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    bench = Bench(options)
    bench.environment()
    for part in options.parts:
        start = time.perf_counter()
        try:
            getattr(bench, part)()
        except Exception:
            traceback.print_exc()
        bench.say(f"[{part} took {seconds_since(start)} s]")


if __name__ == "__main__":
    main()
