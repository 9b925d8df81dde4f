"""What a step costs on this machine: measured with more and more streams of real speech until they fill a period."""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from typing import TYPE_CHECKING

from auricle.engines.contract import Feed, StreamOptions
from auricle.live.buffer import NOTHING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from auricle.engines.contract import StreamingInfo, StreamingRecognizer
    from auricle.live.load import StepModel

STEPS_PER_SIZE = 12
COMPARED_STREAMS, COMPARED_STEPS = 8, 5
SHIFT_CHUNKS = 3
MS_PER_S = 1000


def demo_speech(rate: int) -> NDArray[np.float32]:
    """Return the longest recording of the demo corpus at `rate` Hz, shape `(samples,)`."""
    from auricle.audio import load
    from auricle.corpus import open_corpus

    longest = max(open_corpus("demo").utterances, key=lambda one: one.duration_s)
    return load(longest.audio, rate).samples


class Trial:
    """Streams of one chunk size that are stepped together, every one at another place in `speech`.

    `speech` holds samples at the model's rate, at least one chunk of them.
    """

    def __init__(
        self, recognizer: StreamingRecognizer, streaming: StreamingInfo, speech: NDArray[np.float32], chunk_ms: int
    ) -> None:
        self._recognizer = recognizer
        self._first_short = streaming.first_short
        self._speech = speech
        self._options = StreamOptions(chunk_ms)
        self._chunk = chunk_ms * recognizer.info.sample_rate // MS_PER_S
        self._streams: list[int] = []
        self._begun = 0

    def step(self, size: int, turn: int) -> float:
        """Give `size` streams, more than before or as many, one chunk each; return how long the step took in s."""
        while len(self._streams) < size:
            self._streams.append(self._recognizer.open(self._options))
        chunks = max(1, len(self._speech) // self._chunk)
        feeds = []
        for index, stream in enumerate(self._streams):
            start = (turn + SHIFT_CHUNKS * index) % chunks * self._chunk
            begin = start if index < self._begun else start + self._first_short
            feeds.append(Feed(stream, self._speech[begin : start + self._chunk]))
        self._begun = len(feeds)
        before_s = time.perf_counter()
        self._recognizer.step(feeds)
        return time.perf_counter() - before_s

    def close(self) -> None:
        """End the utterances and give the places back."""
        if self._begun:
            self._recognizer.step([Feed(stream, NOTHING, is_last=True) for stream in self._streams[: self._begun]])
        for stream in self._streams:
            self._recognizer.close(stream)


def calibrate(recognizer: StreamingRecognizer, model: StepModel, speech: NDArray[np.float32]) -> dict[int, float]:
    """Fit `model` to steps of 1, 2, 4 ... streams of the default chunk size; return what a chunk of each size weighs.

    Doubling ends when a step takes longer than a chunk lasts, and at the slots of the recogniser. A chunk weighs as
    many times a default one as a step of them takes longer. Runs on the engine thread.
    """
    streaming = recognizer.info.streaming
    if streaming is None:
        return {}
    default = streaming.chunk_ms[0]
    most = min(streaming.block, streaming.slots)
    with closing(Trial(recognizer, streaming, speech, default)) as trial:
        size, longest_s = 1, 0.0
        while longest_s <= default / MS_PER_S:
            steps_s = [trial.step(size, turn) for turn in range(STEPS_PER_SIZE)]
            for step_s in steps_s:
                model.add(size, step_s)
            longest_s = max(steps_s)
            if size == most:
                break
            size = min(2 * size, most)
    medians_s = {}
    for chunk_ms in streaming.chunk_ms if len(streaming.chunk_ms) > 1 else ():
        with closing(Trial(recognizer, streaming, speech, chunk_ms)) as trial:
            count = min(COMPARED_STREAMS, most)
            medians_s[chunk_ms] = statistics.median(trial.step(count, turn) for turn in range(COMPARED_STEPS))
    return {chunk_ms: median_s / medians_s[default] for chunk_ms, median_s in medians_s.items()}
