"""Compare the speed of Auricle's Emformer with torchaudio's: same weights, audio, segments, beam and one thread.

    python -m tools.emformer_speed --torchaudio-python ENV/bin/python --folder WORK --out emformer-speed.json

The other environment needs `torchaudio==2.11.0` and `sentencepiece`. The weights are those of `emformer_rnnt_base` at
its full size, drawn from a seed, with a score for the blank under which about three labels are said a second. Each
arm runs in a process of its own; they take turns of a few segments, in another order each round, and a figure is the
median of the rounds. A segment is 160 ms of every stream: features, encoder, search and text.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, Self, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 16_000
SEGMENT_S = 0.16
TOKENS_PER_S = 3.0
CALIBRATION_S = 4
LONGEST_S = 60
WARM_STEPS = 12
"""Afterwards every stream sees all of its left context."""

ROOT = Path(__file__).parents[1]
ARMS = ("auricle", "torchaudio")


class Arm:
    """One recogniser in a process of its own, asked by lines of JSON."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        self.name = name
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        command = [python, "-m", "tools.emformer_speed_arm", name, str(folder.resolve())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        self._questions, self._answers = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)

    def ask(self, **question: int) -> dict[str, Any]:
        """Ask, and return the answer; raises RuntimeError when the process has ended."""
        self._questions.write(json.dumps(question) + "\n")
        self._questions.flush()
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"the arm {self.name} ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._questions.close()
        self._process.wait()


def measure(arms: list[Arm], beam: int, streams: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of every turn of each arm, with so many hypotheses and streams."""
    for arm in arms:
        arm.ask(beam=beam, streams=streams)
        arm.ask(steps=WARM_STEPS)
    slowest_s = max(arm.ask(steps=1)["wall_s"] for arm in arms)
    steps = max(1, min(round(options.turn_s / slowest_s), int(LONGEST_S / SEGMENT_S / (options.rounds + 1))))
    turns: dict[str, list[dict[str, float]]] = {arm.name: [] for arm in arms}
    for turn in range(options.rounds):
        for arm in arms if turn % 2 == 0 else arms[::-1]:
            turns[arm.name].append(arm.ask(steps=steps))
    said = {arm.name: arm.ask(tokens=1) for arm in arms}
    heard_s = SEGMENT_S * (WARM_STEPS + 1 + steps * options.rounds)
    first = said[arms[0].name]["tokens"]
    return {
        "beam": beam,
        "streams": streams,
        "steps": steps,
        "ms": {name: [1000 * one["wall_s"] / steps / streams for one in each] for name, each in turns.items()},
        "cpu_ms": {name: [1000 * one["cpu_s"] / steps / streams for one in each] for name, each in turns.items()},
        "stages_ms": said["auricle"]["stages_ms"],
        "tokens_per_s": {name: statistics.fmean(map(len, each["tokens"])) / heard_s for name, each in said.items()},
        "same": {name: each["tokens"] == first for name, each in said.items()},
        "peak_mib": {name: each["peak_mib"] for name, each in said.items()},
    }


def table(cells: list[dict[str, Any]]) -> str:
    """Return the medians as a table."""
    lines = [
        "| beam | streams | arm | ms a segment and stream (least to most) | RTF | streams a core | labels/s | same |",
        "| ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for cell in cells:
        for arm, turns in cell["ms"].items():
            middle = statistics.median(turns)
            rtf = middle / 1000 / SEGMENT_S
            same = "yes" if cell["same"][arm] else "no"
            lines.append(
                f"| {cell['beam']} | {cell['streams']} | {arm} | {middle:.1f} ({min(turns):.1f} to {max(turns):.1f}) "
                f"| {rtf:.3f} | {1 / rtf:.1f} | {cell['tokens_per_s'][arm]:.1f} | {same} |"
            )
        if len(cell["ms"]) > 1:
            ratios = [other / mine for other, mine in zip(cell["ms"]["torchaudio"], cell["ms"]["auricle"], strict=True)]
            stages = ", ".join(f"{name} {value:.1f}" for name, value in cell["stages_ms"].items())
            times = f"{statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
            lines.append(f"| | | | {times}; {stages} ms | | | | |")
    return "\n".join(lines)


def prepare(folder: Path) -> float:
    """Make weights, statistics and tokenizer that are not there yet; return labels a second."""
    import torch

    from tools.emformer_speed_model import WEIGHTS, labels_per_s, write

    torch.set_num_threads(1)
    if not (folder / WEIGHTS).exists():
        with TemporaryDirectory(dir=folder) as made:
            write(Path(made), np.load(folder / "audio.npy")[:, : CALIBRATION_S * RATE_HZ], TOKENS_PER_S)
            for file in Path(made).iterdir():
                file.rename(folder / file.name)
    return labels_per_s(folder, np.load(folder / "audio.npy")[:, : CALIBRATION_S * RATE_HZ])


def recordings(count: int) -> NDArray[np.float32]:
    """Return speech of the demo corpus, another beginning for every stream, `(count, samples)`."""
    from auricle.audio import load

    files = sorted((ROOT / "src" / "auricle" / "corpus" / "demo" / "audio").glob("*.opus"))
    line = np.concatenate([load(file).samples for file in files])
    starts = np.linspace(0, len(line), count, endpoint=False).astype(int)
    return np.stack([np.roll(line, -start)[: LONGEST_S * RATE_HZ] for start in starts])


def machine() -> dict[str, float]:
    """Return what one thread multiplies and reads now: machines that others use are not the same at all times."""
    import torch

    from auricle.tensors.packed import PackedLinear

    torch.set_num_threads(1)
    square, line = torch.randn(1024, 1024), torch.zeros(64 * 1024 * 1024)
    layer = PackedLinear(square)
    product_s, read_s = _least_s(lambda: layer(square)), _least_s(line.sum)
    return {"gflops": 2 * 1024**3 / product_s / 1e9, "read_gb_s": line.nbytes / read_s / 1e9}


def _least_s(call: Any) -> float:
    times = []
    for _ in range(10):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure every cell asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torchaudio-python", help="the Python of an environment with torchaudio")
    parser.add_argument("--folder", type=Path, required=True, help="where the model is, or is made")
    parser.add_argument("--out", type=Path, help="where the record goes, as JSON")
    parser.add_argument("--beams", nargs="+", type=int, default=[10, 1])
    parser.add_argument("--streams", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turn-s", type=float, default=2.0, help="about how long a turn of the slowest arm lasts")
    parser.add_argument("--prepare", action="store_true", help="only make the model")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    np.save(options.folder / "audio.npy", recordings(max(options.streams)))
    if options.prepare:
        print(f"{prepare(options.folder):.1f} labels a second with a beam of 10")
        return
    record: dict[str, Any] = {"cores": os.cpu_count(), "python": platform.python_version(), "cells": []}
    record["machine"] = machine()
    pythons = {"auricle": sys.executable, "torchaudio": options.torchaudio_python}
    with ExitStack() as stack:
        names = [name for name in ARMS if pythons[name]]
        arms = [stack.enter_context(Arm(name, pythons[name], options.folder)) for name in names]
        for beam in options.beams:
            for streams in options.streams:
                record["cells"].append(measure(arms, beam, streams, options))
                if options.out:
                    options.out.write_text(json.dumps(record, indent=1), encoding="utf-8")
    after = machine()
    found = ", ".join(f"{key} {value:.0f} before, {after[key]:.0f} after" for key, value in record["machine"].items())
    print(f"one thread: {found}\n\n{table(record['cells'])}")


if __name__ == "__main__":
    main()
