"""What a step costs on this machine: measured with more and more streams of real speech until they fill a period."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from auricle.engines.contract import Feed, StreamOptions
from auricle.live.buffer import NOTHING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from auricle.engines.contract import StreamingRecognizer
    from auricle.live.load import StepModel

STEPS_PER_SIZE = 12
MOST_STREAMS = 64
SHIFT_CHUNKS = 3


def demo_speech(rate: int) -> NDArray[np.float32]:
    """Return the longest recording of the demo corpus at `rate` Hz, shape `(samples,)`."""
    from auricle.audio import load
    from auricle.corpus import open_corpus

    longest = max(open_corpus("demo").utterances, key=lambda one: one.duration_s)
    return load(longest.audio, rate).samples


def calibrate(
    recognizer: StreamingRecognizer, model: StepModel, speech: NDArray[np.float32], chunk: int, period_s: float
) -> int:
    """Fit `model` to steps of 1, 2, 4 ... streams of `chunk` samples, and return the most streams that were stepped.

    Every stream is at another place in `speech` (samples at the model's rate, at least one chunk). Doubling ends when a
    step takes longer than `period_s`, and at the slots of the recogniser. Runs on the engine thread.
    """
    streaming = recognizer.info.streaming
    most = min(MOST_STREAMS, streaming.slots if streaming is not None else 1)
    streams: list[int] = []
    size = 1
    try:
        while True:
            while len(streams) < size:
                streams.append(recognizer.open(StreamOptions()))
            took_s = max(_step(recognizer, model, streams, speech, chunk, turn) for turn in range(STEPS_PER_SIZE))
            if took_s > period_s or size >= most:
                return size
            size = min(2 * size, most)
    finally:
        if streams:
            recognizer.step([Feed(stream, NOTHING, is_last=True) for stream in streams])
        for stream in streams:
            recognizer.close(stream)


def _step(
    recognizer: StreamingRecognizer,
    model: StepModel,
    streams: list[int],
    speech: NDArray[np.float32],
    chunk: int,
    turn: int,
) -> float:
    chunks = max(1, len(speech) // chunk)
    feeds = []
    for index, stream in enumerate(streams):
        start = (turn + SHIFT_CHUNKS * index) % chunks * chunk
        feeds.append(Feed(stream, speech[start : start + chunk]))
    begin = time.perf_counter()
    recognizer.step(feeds)
    took_s = time.perf_counter() - begin
    model.add(len(feeds), took_s)
    return took_s
