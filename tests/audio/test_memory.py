"""What decoding a long recording costs in memory, measured in a process of its own.

By hand: `/usr/bin/time -v python -c "from auricle.audio import blocks; print(sum(map(len, blocks('long.flac'))))"`
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

RATE = 44_100
PEAK_LIMIT_MB = 200
MEASURE = """
import json, pathlib, re, sys, psutil
from auricle.audio import blocks
samples = sum(map(len, blocks(sys.argv[1])))
if sys.platform == "linux":
    peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
else:
    peak = psutil.Process().memory_info().peak_wset
print(json.dumps([samples, peak]))
"""


@pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="no peak of the resident memory to be read here")
@pytest.mark.parametrize(
    "seconds", [pytest.param(600, id="ten-minutes"), pytest.param(10_800, id="three-hours", marks=pytest.mark.slow)]
)
def test_a_long_recording_decodes_in_bounded_memory(seconds: int, tmp_path: Path) -> None:
    write_noise(tmp_path / "long.flac", seconds)
    begin = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "long.flac")], capture_output=True, text=True, check=True
    )
    samples, peak_bytes = json.loads(result.stdout)
    print(f"{seconds} s of FLAC: peak RSS {peak_bytes / 1e6:.0f} MB, {time.perf_counter() - begin:.1f} s")  # noqa: T201 (the figure itself)
    assert samples == seconds * 16_000
    assert peak_bytes < PEAK_LIMIT_MB * 1e6


def write_noise(path: Path, seconds: int) -> None:
    """Write `seconds` of mono noise as FLAC, ten seconds at a time."""
    noise = np.random.default_rng(0).integers(-9000, 9000, (1, 10 * RATE)).astype(np.int16)
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        for first in range(0, seconds * RATE, noise.shape[1]):
            frame = av.AudioFrame.from_ndarray(noise, "s16", "mono")
            frame.sample_rate, frame.pts = RATE, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
