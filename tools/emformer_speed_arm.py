"""One arm of `tools.emformer_speed`, asked by lines of JSON; the one of torchaudio needs nothing of Auricle."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

SEGMENT_SAMPLES, WINDOW_SAMPLES = 2_560, 3_200


class Torchaudio:
    """torchaudio's pipeline, one stream after the other: its search takes one at a time."""

    def __init__(self, folder: Path, audio: torch.Tensor) -> None:
        from tests.emformer.record_golden import pipeline_over, without_extension

        without_extension()
        bundle = pipeline_over(folder)
        self._features, self._tokens = bundle.get_streaming_feature_extractor(), bundle.get_token_processor()
        self._decoder = bundle.get_decoder()
        self._audio = audio

    def start(self, beam: int, streams: int) -> None:
        """Begin anew."""
        self._beam, self._place = beam, 0
        self._states: list[Any] = [(None, None)] * streams

    def step(self) -> None:
        """Advance every stream by a segment."""
        for row, (state, before) in enumerate(self._states):
            segment = self._audio[row, self._place : self._place + WINDOW_SAMPLES]
            heard = self._features(segment)
            found, after = self._decoder.infer(*heard, self._beam, state=state, hypothesis=before)
            self._tokens(found[0][0])
            self._states[row] = (after, found)
        self._place += SEGMENT_SAMPLES

    def tokens(self) -> list[list[int]]:
        """Return what every stream has said."""
        return [found[0][0][1:] for _, found in self._states]

    def stages(self) -> dict[str, float]:
        """Return nothing: it has no stages."""
        return {}


class Auricle:
    """Auricle's engine, all streams in a step."""

    def __init__(self, folder: Path, audio: torch.Tensor) -> None:
        from auricle.trace import Tracer

        self._folder, self._audio, self._tracer = folder, audio.numpy(), Tracer()
        self._engine: Any = None
        self._beam = 0

    def start(self, beam: int, streams: int) -> None:
        """Begin anew."""
        from auricle.engines import emformer
        from auricle.engines.contract import Feed, LoadOptions, StreamOptions

        if beam != self._beam:
            if self._engine is not None:
                self._engine.unload()
                self._engine = None
            self._engine = emformer.ENGINE.load(LoadOptions(self._folder, threads=1, beam=beam), self._tracer)
            self._numbers: list[int] = []
        for number in self._numbers:
            self._engine.close(number)
        self._beam = beam
        self._numbers = [self._engine.open(StreamOptions()) for _ in range(streams)]
        self._place = WINDOW_SAMPLES - SEGMENT_SAMPLES
        rows = zip(self._numbers, self._audio, strict=False)
        self._engine.step([Feed(number, row[: self._place]) for number, row in rows])
        self._tracer.drain()
        self._steps = 0

    def step(self) -> None:
        """Advance every stream by a segment."""
        from auricle.engines.contract import Feed

        end = self._place + SEGMENT_SAMPLES
        rows = zip(self._numbers, self._audio, strict=False)
        self._engine.step([Feed(number, row[self._place : end]) for number, row in rows])
        self._place = end
        self._steps += 1

    def tokens(self) -> list[list[int]]:
        """Return what every stream has said."""
        lives = (self._engine._live[number] for number in self._numbers)  # noqa: SLF001  no words for labels
        return [[token.label for token in live.stream.trail.tokens()] for live in lives]

    def stages(self) -> dict[str, float]:
        """Return the milliseconds of each stage for a segment of one stream."""
        found: dict[str, float] = {}
        for span in self._tracer.drain():
            part = 1000 * span.duration_s / self._steps / len(self._numbers)
            found[span.stage] = found.get(span.stage, 0) + part
        return found


@torch.inference_mode()
def main() -> None:
    """Answer until nothing more is asked."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[2])
    audio = torch.from_numpy(np.load(folder / "audio.npy"))
    arm = (Torchaudio if sys.argv[1] == "torchaudio" else Auricle)(folder, audio)
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, Any] = {}
        if "beam" in question:
            arm.start(question["beam"], question["streams"])
        elif "steps" in question:
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(question["steps"]):
                arm.step()
            answer = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            answer = {"tokens": arm.tokens(), "stages_ms": arm.stages(), "peak_mib": peak}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
