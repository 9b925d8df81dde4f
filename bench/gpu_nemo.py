"""The most live streams that NeMo holds on a GPU, and its offline speed, at the size of the 0.6B models.

    PYTHONPATH=src python -m bench.gpu_nemo --seconds 240 > nemo.jsonl

needs `nemo-toolkit[asr]`. A line of the output is a measurement or, with "what": "most", the end of a search: batches
grow until a step takes longer than `SHARE` of the time that its sound lasts, and the middle between the last that held
and the first that did not is tried until they are near. All streams are in one phase: nobody waits for another's step.
The arms:

`step`: `conformer_stream_step`, with features computed on the device for all streams at once.
`pipeline`: the cache-aware pipeline, `transcribe_step`, with all that it does on the host, from one frame per stream.
`published`: the same with the decoding that its published configuration asks for: no CUDA graphs, phrases per stream.
`offline`: 64 clips of 25 s through features, encoder and TDT decoding; its speed is audio time over wall time.

Sound starts in host memory and texts end there. Weights are those of `tools.cpu_speed_models`, and the blank's score is
set so that NeMo says `TOKENS_PER_S`; the rate heard is in each line. A hypothesis grows with its stream, and NeMo joins
and spells all of it at each step: these streams are seconds old, which is in NeMo's favour.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
import traceback
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from bench.gpu_nemo_model import build, decode, features_of, graphs_of, offline_values, set_rate
from bench.gpu_nemo_streams import FRAME_S, Bare, Piped, Streams, chunks
from tests.fastconformer.checkpoints import RATE_HZ
from tools.cpu_speed_models import SIZES, Size, configuration

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE = 0.8
STREAMING = ("step", "pipeline", "published")
TINY = Size(2, 64, 80, plain=False)
CLIPS, CLIP_S = 64, 25
WARM_STEPS, FEWEST_STEPS, MOST_STEPS = 2, 3, 40
TURN_S = 1.2
NEAR = 8
"""The search ends when what failed is within this fraction of what held."""
FAILURES = (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, LookupError)
"""What code of others may raise, which ends a measurement and is reported in its line."""
# Streams by lookahead, about what an H100 is said to hold.
FIRST_SIZES = {"step": {0: 256, 6: 1024, 13: 2048}, "pipeline": {0: 128, 6: 512, 13: 1024}}


@dataclass(slots=True)
class Bench:
    """The device, how long there is, and what was found."""

    device: torch.device
    tiny: bool
    graphs: bool
    until: float
    found: list[dict[str, Any]]

    def report(self, record: dict[str, Any]) -> None:
        """Print a record, and keep it."""
        self.found.append(record)
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()

    def synchronise(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def forget(self) -> None:
        """Give back memory that nothing holds any more."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_gib(self) -> float | None:
        """The most memory that tensors took since `forget`."""
        return torch.cuda.max_memory_allocated(self.device) / 2**30 if self.device.type == "cuda" else None

    def timed(self, action: Callable[[], object]) -> float:
        """Return how many seconds an action takes, with what it left the device to do."""
        self.synchronise()
        start = time.perf_counter()
        action()
        self.synchronise()
        return time.perf_counter() - start


def measure(bench: Bench, make: Callable[[int], Streams], streams: int, period_s: float) -> dict[str, Any]:
    """Time some steps of a number of streams, or say what ended them."""
    bench.forget()
    try:
        live = make(streams)
        sound = chunks(streams, round(period_s * RATE_HZ))
        times: list[float] = []
        for step in range(WARM_STEPS + MOST_STEPS):
            live.prepare(next(sound))
            took_s = bench.timed(live.step)
            times += [took_s] if step >= WARM_STEPS else []
            if len(times) >= FEWEST_STEPS and sum(times) > TURN_S:
                break
    except torch.OutOfMemoryError:
        return {"streams": streams, "holds": False, "ended_by": "memory"}
    except FAILURES as error:
        traceback.print_exc()
        return {"streams": streams, "holds": False, "ended_by": "failure", "error": str(error).partition("\n")[0]}
    step_s = statistics.median(times)
    heard_s = streams * (WARM_STEPS + len(times)) * period_s
    return {
        "streams": streams,
        "holds": step_s <= SHARE * period_s,
        "step_ms": 1000 * step_s,
        "slowest_ms": 1000 * max(times),
        "share": step_s / period_s,
        "steps": len(times),
        "tokens_per_s": live.tokens() / heard_s,
        "peak_gib": bench.peak_gib(),
    }


def search(bench: Bench, model: Any, arm: str, right: int, until: float) -> None:
    """Find the most streams of an arm at a lookahead, in the model's precision, as far as time allows."""
    features, period_s = features_of(model), (right + 1) * FRAME_S
    made: dict[str, Callable[[int], Streams]] = {
        "step": lambda streams: Bare(model, features, right, streams, graphs=bench.graphs),
        "pipeline": lambda streams: Piped(model, right, streams, graphs=bench.graphs, phrases=False),
        "published": lambda streams: Piped(model, right, streams, graphs=False, phrases=True),
    }
    dtype = str(model.joint.enc.weight.dtype).removeprefix("torch.")
    cell = {"arm": arm, "dtype": dtype, "lookahead_ms": round(1000 * period_s)}
    streams = 2 if bench.tiny else FIRST_SIZES.get(arm, FIRST_SIZES["pipeline"]).get(right, 512)
    held, failed, ended_by = 0, 0, "search"
    while streams and (not failed or failed - held > max(1, held // NEAR)):
        record = cell | measure(bench, made[arm], streams, period_s)
        bench.report({"what": "size"} | record | {"graphs": graphs_of(model)})
        held, failed = (streams, failed) if record["holds"] else (held, streams)
        streams = (held + failed) // 2 if failed else 2 * streams
        if "error" in record or time.monotonic() > until:
            ended_by = "failure" if "error" in record else "time"
            break
    bench.report({"what": "most"} | cell | {"streams": held, "failed": failed or None, "ended_by": ended_by})


def offline(bench: Bench, dtype: torch.dtype) -> None:
    """Time the recognition of a batch of clips."""
    bench.forget()
    model = build(offline_values(TINY if bench.tiny else SIZES["0.6b"]), bench.device).to(dtype)
    features = features_of(model)
    decode(model, graphs=bench.graphs)
    rate = set_rate(model, features)
    clips, seconds = (4, 5) if bench.tiny else (CLIPS, CLIP_S)
    sound = torch.stack(next(chunks(clips, seconds * RATE_HZ)))
    heard: list[Any] = []

    @torch.inference_mode()
    def recognise() -> None:
        pcm = sound.to(bench.device)
        lengths = torch.full((clips,), pcm.shape[1], device=bench.device)
        made, sizes = features(input_signal=pcm, length=lengths)
        encoded, sizes = model.encoder(audio_signal=made.to(dtype), length=sizes)
        heard[:] = model.decoding.rnnt_decoder_predictions_tensor(encoded, sizes, return_hypotheses=True)

    times: list[float] = []
    for turn in range(WARM_STEPS + MOST_STEPS):
        took_s = bench.timed(recognise)
        times += [took_s] if turn >= WARM_STEPS else []
        if len(times) >= FEWEST_STEPS and sum(times) > TURN_S:
            break
    wall_s = statistics.median(times)
    bench.report(
        {"what": "offline", "arm": "offline", "dtype": str(dtype).removeprefix("torch."), "clips": clips}
        | {"clip_s": seconds, "wall_ms": 1000 * wall_s, "rtfx": clips * seconds / wall_s, "runs": len(times)}
        | {"tokens_per_s": sum(len(one.y_sequence) for one in heard) / (clips * seconds), "set_rate": rate}
        | {"graphs": graphs_of(model), "peak_gib": bench.peak_gib()}
    )


def table(found: list[dict[str, Any]]) -> str:
    """Return the results as lines for people."""
    lines = [f"{'arm':<10} {'precision':<9} {'period':>8} {'streams':>8}  step of that size"]
    for one in found:
        if one["what"] == "most":
            same = ("arm", "dtype", "lookahead_ms", "streams")
            size = next((a for a in found if a["what"] == "size" and all(a[k] == one[k] for k in same)), None)
            step = f"{size['step_ms']:.1f} ms, graphs {size['graphs']}, {size['tokens_per_s']:.1f}/s" if size else "-"
            first_failed = f"failed at {one['failed']}" if one["failed"] else f"ended by {one['ended_by']}"
            shown = f"{one['arm']:<10} {one['dtype']:<9} {one['lookahead_ms']:>5} ms {one['streams']:>8}"
            lines.append(f"{shown}  {step}, {first_failed}")
        elif one["what"] == "offline":
            lines.append(f"{'offline':<10} {one['dtype']:<9} RTFx {one['rtfx']:.0f}, graphs {one['graphs']}")
        elif one["what"] == "failure":
            lines.append(f"{one['arm']:<10} {one['dtype']:<9} {one['lookahead_ms']} ms: {one['error']}")
    return "\n".join(lines)


def jobs(options: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Return arm, precision and lookahead in the order of their worth; offline is measured in the first precision."""
    first = options.precisions[0]
    order = [(arm, first, right) for arm in options.arms if arm != "offline" for right in options.rights]
    order += [("offline", first, -1)] if "offline" in options.arms else []
    return order + [("step", other, right) for other in options.precisions[1:] for right in options.rights]


def run(bench: Bench, options: argparse.Namespace) -> None:
    """Do the jobs, each within its share of the time that is left."""
    import_module("nemo.utils").logging.setLevel(30)
    torch.set_float32_matmul_precision("high")
    model = build(configuration(TINY if bench.tiny else SIZES["0.6b"]), bench.device)
    model.to(getattr(torch, options.precisions[0]))
    decode(model, graphs=bench.graphs)
    model.encoder.set_default_att_context_size([70, 13])
    bench.report({"what": "model", "tokens_per_s": set_rate(model, features_of(model))})
    todo = jobs(options)
    for place, (arm, precision, right) in enumerate(todo):
        now = time.monotonic()
        if now > bench.until:
            bench.report({"what": "left out", "jobs": todo[place:]})
            break
        try:
            if arm == "offline":
                offline(bench, getattr(torch, precision))
            else:
                share_s = (bench.until - now) / len(todo[place:])
                search(bench, model.to(getattr(torch, precision)), arm, right, now + share_s)
        except FAILURES as error:
            traceback.print_exc()
            cell = {"arm": arm, "dtype": precision, "lookahead_ms": round(1000 * (right + 1) * FRAME_S)}
            bench.report({"what": "failure"} | cell | {"error": str(error).partition("\n")[0]})


def main() -> None:
    """Measure, print each result as it comes, and end with a table on the standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="on `cpu`, the pipeline's arms are in single precision")
    parser.add_argument("--tiny", action="store_true", help="a model of two narrow layers, to try the script itself")
    parser.add_argument("--seconds", type=float, default=240.0, help="when to start nothing more, from the start")
    parser.add_argument("--arms", nargs="+", default=["step", "pipeline", "offline"], choices=[*STREAMING, "offline"])
    parser.add_argument("--rights", nargs="+", type=int, default=[0, 6, 13], help="lookaheads in encoder frames")
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float32"], choices=["bfloat16", "float32"])
    parser.add_argument("--no-graphs", action="store_true", help="without CUDA graphs in NeMo's decoder")
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    bench = Bench(torch.device(options.device), options.tiny, not options.no_graphs, until, [])
    versions = {name: import_module(name).__version__ for name in ("torch", "nemo")}
    name = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "CPU"
    bench.report({"what": "machine", "device": name} | versions)
    run(bench, options)
    sys.stderr.write(table(bench.found) + "\n")


if __name__ == "__main__":
    main()
