"""One recogniser in a process of its own, advanced a few chunks at a time as its standard input says.

Started by `cpu_speed.py` with a job in JSON; answers each line of JSON with one. It runs in the environment of the
recogniser that it is, so only NumPy is imported here. Linux only, for the peak of its memory.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FRAME_S = 0.08
RATE_HZ = 16_000
ARMS = {
    "auricle": ("tools.cpu_speed_auricle", "Live"),
    "auricle-offline": ("tools.cpu_speed_auricle", "Offline"),
    "nemo": ("tools.cpu_speed_nemo", "Live"),
    "nemo-offline": ("tools.cpu_speed_nemo", "Offline"),
    "sherpa-onnx": ("tools.cpu_speed_sherpa", "Live"),
    "sherpa-auricle": ("tools.cpu_speed_sherpa", "Live"),
    "auricle-onnx": ("tools.cpu_speed_onnx", "Live"),
    "auricle-int8": ("tools.cpu_speed_onnx", "Live"),
    "nemo-onnx": ("tools.cpu_speed_onnx", "NemoLive"),
}


class Arm(Protocol):
    """A loaded recogniser. `model` is an archive or a folder of exports; a chunk has `right + 1` encoder frames."""

    def __init__(self, model: str, right: int, threads: int) -> None: ...

    def open(self, audio: Sequence[NDArray[np.float32]]) -> float:
        """Start anew with a stream for each recording of equal length; return CPU seconds that each step owes."""
        ...

    def step(self) -> None:
        """Hear the next chunk of every recording, and have the text so far; offline, the whole of each."""
        ...

    def tokens(self) -> list[list[int]]:
        """Return what was recognised so far in each recording."""
        ...


def main() -> None:
    """Load the arm that the first argument describes and do what comes on standard input."""
    # Libraries print: what is not an answer goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = json.loads(sys.argv[1])
    module, name = ARMS[job["arm"]]
    arm: Arm = getattr(import_module(module), name)(job["model"], job["right"], job["threads"])
    audio = np.load(job["audio"], mmap_mode="r")
    owed = 0.0

    def answer(ask: dict[str, Any]) -> dict[str, Any]:
        nonlocal owed
        if "streams" in ask:
            if ask["streams"] > len(audio):
                raise SystemExit(f"{len(audio)} recordings for {ask['streams']} streams")
            owed = arm.open([np.array(row) for row in audio[: ask["streams"]]])
            return {}
        if "tokens" in ask:
            return {"tokens": arm.tokens(), "peak_mib": _peak_mib()}
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for _ in range(ask["steps"]):
            arm.step()
        due = owed * ask["steps"]
        return {"cpu_s": time.process_time() - cpu_s + due, "wall_s": time.perf_counter() - wall_s + due}

    print(json.dumps({}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


def _peak_mib() -> int:
    """Return the most memory that the process has had; `getrusage` would count that of its parent too."""
    match = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(match[1]) >> 10 if match else 0


if __name__ == "__main__":
    main()
