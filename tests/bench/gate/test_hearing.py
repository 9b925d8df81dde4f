"""What a recogniser heard is kept in every way it was asked; what fails is told and ends the hearing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auricle.audio import Audio
from auricle.bench.gate.hearing import Sample, hear
from auricle.engines.contract import ModelInfo, StreamFailure, StreamingInfo
from auricle.errors import EngineError
from auricle.transcript import Hypothesis, Segment, Transcript, Word

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from auricle.engines.contract import Feed, StreamOptions, TranscribeOptions

RATE_HZ = 16_000
SAMPLES = [
    Sample("a", Audio(np.full(20_000, 0.1, np.float32), RATE_HZ), "a", "s"),
    Sample("a in noise", Audio(np.full(20_000, 0.2, np.float32), RATE_HZ), "a", "s", copy=True),
    Sample("b", Audio(np.full(5_000, 0.3, np.float32), RATE_HZ), "b", "t"),
]


class Counter:
    """A recogniser that says how much it heard; it breaks off where it is told to."""

    def __init__(self, confidence: float = 1.0, breaks: str = "") -> None:
        self.info = ModelInfo(
            engine="counter",
            name="counter",
            family="counter",
            languages=(),
            sample_rate=RATE_HZ,
            device="cpu",
            precision="fp32",
            features=frozenset({"word_times", "confidence"}),
            streaming=StreamingInfo((100,), (0.0,), 8, None, 200),
        )
        self.batches: list[int] = []
        self.heard: dict[int, int] = {}
        self.chunks: list[int] = []
        self._confidence = confidence
        self._breaks = breaks

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        if self._breaks == "files":
            raise EngineError("the stage failed", "encoder")
        assert options.word_times
        assert cancel is None
        self.batches.append(len(batch))
        word = Word("x", 0.0, 0.1, self._confidence)
        return [Transcript(f"{len(one.samples)}", one.duration_s, (Segment("x", 0.0, 0.1, (word,)),)) for one in batch]

    def open(self, options: StreamOptions) -> int:
        assert options.chunk_ms is None
        self.heard[len(self.heard)] = 0
        return len(self.heard) - 1

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        if self._breaks == "live":
            return [StreamFailure(feed.stream, EngineError("lost", feed.stream)) for feed in ready]
        self.chunks += [len(feed.samples) for feed in ready if not feed.is_last]
        for feed in ready:
            self.heard[feed.stream] += len(feed.samples)
        return [Hypothesis(one.stream, f"{self.heard[one.stream]}", 0.0, one.is_last) for one in ready]

    def close(self, stream: int) -> None:
        assert stream in self.heard

    def unload(self) -> None:
        """Have nothing to free."""


def test_copies_are_heard_in_company_and_originals_alone_too() -> None:
    recognizer = Counter()
    heard = hear(recognizer, SAMPLES, 2, lambda _: None)
    lengths = {"a": "20000", "b": "5000"}
    assert heard.texts["together"] == heard.texts["live together"] == lengths | {"a in noise": "20000"}
    assert heard.texts["alone"] == heard.texts["live alone"] == lengths
    assert recognizer.batches == [2, 1, 1, 1]
    assert set(recognizer.chunks) == {1400, 1600}
    assert (heard.failure, heard.doubtful, heard.frames) == (None, [], {})


def test_a_confidence_that_is_none_is_kept_by_sample() -> None:
    for confidence in (float("nan"), 1.5, -0.1):
        assert hear(Counter(confidence), SAMPLES, 2, lambda _: None).doubtful == ["a", "a in noise", "b"]


def test_what_fails_is_told_and_what_was_heard_before_is_kept() -> None:
    assert hear(Counter(breaks="files"), SAMPLES, 2, lambda _: None).failure == "the stage failed: encoder"
    live = hear(Counter(breaks="live"), SAMPLES, 2, lambda _: None)
    assert live.failure is not None
    assert "a live stream failed: lost: 0" in live.failure
    assert set(live.texts) == {"together", "alone"}
