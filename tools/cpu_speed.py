"""Compare the speed of Auricle, NeMo and sherpa-onnx on a CPU: same weights, audio, threads and streams.

    python -m tools.cpu_speed --nemo-python NEMO/bin/python --folder WORK --out cpu-speed.json

NeMo's environment needs `nemo-toolkit[asr]` and `sherpa-onnx`. Each recogniser runs in a process of its own; they take
turns of a few chunks, in another order each round, and a cell of the table is the median of the rounds. The unit is
seconds of audio, over all streams, per second of processor time, features, decoding and texts included. Checkpoints
and exports are made in WORK where they are not there; a `NAME.nemo` put there can be measured with `--models NAME`.
With `--check` nothing is timed: the arms hear one recording, and the exit status is 1 unless they say the same.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from tools.cpu_speed_arm import FRAME_S, RATE_HZ
from tools.cpu_speed_table import table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray

ARMS = ("auricle", "nemo", "sherpa-onnx")
OWN = {"auricle-onnx": ("onnx", "fp32"), "auricle-int8": ("onnx", "int8"), "sherpa-auricle": ("sherpa-onnx", "fp32")}
"""Arms on exports of Auricle's: the layout and the precision."""
MORE = (*OWN, "nemo-onnx")
_ON_EXPORTS = {"sherpa-onnx", "nemo-onnx"}
OFFLINE = ("auricle-offline", "nemo-offline")
LONGEST_STREAM_S = 60
CLIP_S = 25
WARM_STEPS = 2


@dataclass(frozen=True, slots=True)
class Cell:
    """What one line of the table is of; `offline` batches recordings of `CLIP_S` instead of streams."""

    model: str
    right: int
    streams: int
    offline: bool = False

    @property
    def chunk_s(self) -> float:
        """Seconds of each stream that a step hears."""
        return CLIP_S if self.offline else (self.right + 1) * FRAME_S


class Process:
    """An arm, loaded, that waits for its turns."""

    def __init__(self, arm: str, cell: Cell, options: argparse.Namespace, audio: Path) -> None:
        folder = options.folder
        model = folder / f"{cell.model}.nemo"
        if arm in _ON_EXPORTS:
            model = folder / f"{cell.model}-{cell.right}"
        elif arm in OWN:
            model = own_folder(folder, arm, cell.model, cell.right)
        job = {"arm": arm, "model": str(model.resolve()), "right": cell.right, "threads": options.threads}
        python = sys.executable if arm.startswith("auricle") or arm == "nemo-onnx" else options.nemo_python
        self._process = subprocess.Popen(
            [python, "-m", "tools.cpu_speed_arm", json.dumps(job | {"audio": str(audio.resolve())})],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"OMP_NUM_THREADS": str(options.threads), "MKL_NUM_THREADS": str(options.threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=options.log,
            text=True,
        )
        self._questions = cast("IO[str]", self._process.stdin)
        self._answers = cast("IO[str]", self._process.stdout)
        self.arm = arm
        self._answer()

    def ask(self, **question: int) -> dict[str, Any]:
        """Have the arm do something, and wait for its answer."""
        print(json.dumps(question), file=self._questions, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise SystemExit(f"{self.arm} ended with {self._process.wait()}: see the log")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._questions.close()
        self._process.wait()
        self._answers.close()


def measure(cell: Cell, arms: Sequence[Process], options: argparse.Namespace) -> dict[str, Any]:
    """Give each arm its turns and return the result of the cell."""
    slowest_s = 0.0
    for arm in arms:
        arm.ask(streams=cell.streams)
        arm.ask(steps=1 if cell.offline else WARM_STEPS)
        slowest_s = max(slowest_s, arm.ask(steps=1)["wall_s"])
    steps = max(1, round(options.turn_s / slowest_s))
    if not cell.offline:
        steps = min(steps, int((LONGEST_STREAM_S / cell.chunk_s - WARM_STEPS - 2) // options.rounds))
    turns: dict[str, list[dict[str, float]]] = {arm.arm: [] for arm in arms}
    for turn in range(options.rounds):
        for place in range(len(arms)):
            arm = arms[(turn + place) % len(arms)]
            turns[arm.arm].append(arm.ask(steps=steps))
    heard_s = cell.chunk_s * (1 if cell.offline else WARM_STEPS + 1 + steps * options.rounds)
    said = {arm.arm: arm.ask(tokens=1) for arm in arms}
    audio_s = cell.streams * steps * cell.chunk_s
    return asdict(cell) | {
        "chunk_ms": round(cell.chunk_s * 1000),
        "steps": steps,
        "speed": {arm: [audio_s / turn["cpu_s"] for turn in each] for arm, each in turns.items()},
        "speed_wall": {arm: [audio_s / turn["wall_s"] for turn in each] for arm, each in turns.items()},
        "tokens_per_s": {arm: statistics.fmean(map(len, each["tokens"])) / heard_s for arm, each in said.items()},
        "same_as_first": {arm: _alike(said[arms[0].arm]["tokens"], each["tokens"]) for arm, each in said.items()},
        "peak_mib": {arm: each["peak_mib"] for arm, each in said.items()},
    }


def _alike(one: list[list[int]], other: list[list[int]]) -> float:
    """Return the share of streams that say the same, as far as the one that is behind has come."""
    pairs = [(a, b, min(len(a), len(b))) for a, b in zip(one, other, strict=True)]
    return statistics.fmean(a[:size] == b[:size] for a, b, size in pairs)


def prepare(model: str, rights: Sequence[int], options: argparse.Namespace, audio: Path) -> None:
    """Make the checkpoint and the exports that are not there yet."""
    archive = options.folder / f"{model}.nemo"
    if not archive.exists():
        from tools.cpu_speed_models import CALIBRATION_S, make_model

        print(f"{model}: making a checkpoint", flush=True)
        heard = np.load(audio)[:, : CALIBRATION_S * RATE_HZ]
        print(f"{model}: {make_model(model, archive, heard):.1f} tokens a second", flush=True)
    for arm, (layout, precision) in OWN.items():
        for right in rights if arm in options.arms else ():
            folder = own_folder(options.folder, arm, model, right)
            if not folder.exists():
                what = [str(archive.resolve()), layout, precision, str(right), str(folder.resolve())]
                root = Path(__file__).parents[1]
                subprocess.run([sys.executable, "-m", "tools.cpu_speed_own", *what], check=True, cwd=root)
    for right in rights if _ON_EXPORTS.intersection(options.arms) else ():
        folder = options.folder / f"{model}-{right}"
        if not folder.exists():
            print(f"{model}: exporting for a lookahead of {right} frames", flush=True)
            partial = folder.with_suffix(".part")
            shutil.rmtree(partial, ignore_errors=True)
            command = [options.nemo_python, "-m", "tools.cpu_speed_export", archive.resolve(), str(right)]
            root = Path(__file__).parents[1]
            subprocess.run([*command, partial.resolve()], check=True, stderr=options.log, stdout=options.log, cwd=root)
            partial.rename(folder)


def own_folder(folder: Path, arm: str, model: str, right: int) -> Path:
    """Return where an export of Auricle's is: one for all lookaheads in its own layout."""
    layout, precision = OWN[arm]
    return folder / (f"{model}-own-{precision}" if layout == "onnx" else f"{model}-own-{layout}-{right}")


def recordings(count: int, seconds: int) -> NDArray[np.float32]:
    """Return recordings of real speech where the evaluation data is, else of a gliding tone, `(count, samples)`."""
    from auricle.audio import load
    from tests.fastconformer.checkpoints import recording

    root = os.environ.get("AURICLE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")
    files = sorted(Path(root, "unlabelled").glob("*.flac"))
    size = seconds * RATE_HZ
    if not files:
        return np.stack([recording(size, seed) for seed in range(count)])
    speech = np.concatenate([load(file).samples for file in files])
    starts = np.linspace(0, len(speech), count, endpoint=False).astype(int)
    return np.stack([np.resize(np.roll(speech, -start), size) for start in starts])


def check(options: argparse.Namespace, audio: Path) -> bool:
    """Return whether all arms say the same at every lookahead."""
    same = True
    steps_s = np.load(audio, mmap_mode="r").shape[1] / RATE_HZ
    for model in options.models:
        prepare(model, options.rights, options, audio)
        for right in options.rights:
            cell = Cell(model, right, 2)
            said = {}
            for name in options.arms:
                with Process(name, cell, options, audio) as arm:
                    arm.ask(streams=cell.streams)
                    arm.ask(steps=int(steps_s / cell.chunk_s))
                    said[name] = arm.ask(tokens=1)["tokens"]
            alike = all(each == said[options.arms[0]] for each in said.values())
            same &= alike
            counts = {name: [len(row) for row in each] for name, each in said.items()}
            print(f"{model}, {cell.chunk_s * 1000:.0f} ms: {'the same' if alike else 'NOT THE SAME'}, tokens {counts}")
    return same


def main() -> None:
    """Measure every cell asked for, write the record as it grows, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nemo-python", required=True, help="the Python of an environment with NeMo and sherpa-onnx")
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints and exports are, or are made")
    parser.add_argument("--out", type=Path, help="where the record goes, as JSON")
    parser.add_argument("--models", nargs="+", default=["110m", "0.6b"])
    parser.add_argument("--rights", nargs="+", type=int, default=[0, 1, 6, 13], help="lookaheads in encoder frames")
    parser.add_argument("--streams", nargs="+", type=int, default=[8, 32])
    parser.add_argument("--offline", nargs="*", type=int, default=[8], help="recordings in an offline batch")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=(*ARMS, *MORE))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn-s", type=float, default=4.0, help="about how long a turn of the slowest arm lasts")
    parser.add_argument("--audio", type=Path, help="with --check: the 16 kHz recording to hear")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with (options.folder / "log.txt").open("a", encoding="utf-8") as options.log:
        audio = options.folder / "audio.npy"
        np.save(audio, _heard(options))
        sys.exit(not check(options, audio)) if options.check else run(options, audio)


def _heard(options: argparse.Namespace) -> NDArray[np.float32]:
    if options.audio is None:
        return recordings(max(options.streams + options.offline), LONGEST_STREAM_S)
    from auricle.audio import load

    # After the end there is silence for all that any arm holds back.
    samples = np.pad(load(options.audio).samples, (0, 4 * RATE_HZ))
    return np.stack([samples, samples])


def run(options: argparse.Namespace, audio: Path) -> None:
    """Measure all cells."""
    clips = options.folder / "clips.npy"
    np.save(clips, np.load(audio)[:, : CLIP_S * RATE_HZ])
    record: dict[str, Any] = {
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "threads": options.threads,
        "cells": [],
    }
    for model in options.models:
        prepare(model, options.rights, options, audio)
        jobs = [
            ([Cell(model, right, size) for size in options.streams], options.arms, audio) for right in options.rights
        ]
        offline = [arm for arm in OFFLINE if arm.removesuffix("-offline") in options.arms]
        jobs += [([Cell(model, 13, size, offline=True) for size in options.offline], offline, clips)]
        for cells, names, heard in jobs:
            record["cells"] += _cells(cells, names, options, heard)
            if options.out:
                options.out.write_text(json.dumps(record, indent=1), encoding="utf-8")
            print(table(record["cells"][-len(cells) :]), flush=True)
    print(table(record["cells"]))


def _cells(
    cells: Sequence[Cell], names: Sequence[str], options: argparse.Namespace, audio: Path
) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        arms = [stack.enter_context(Process(name, cells[0], options, audio)) for name in names] if cells else []
        return [measure(cell, arms, options) for cell in cells]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
