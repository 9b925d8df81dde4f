"""A small streaming recogniser to test the scheduler with: its text counts the samples it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.engines.contract import Feed, ModelInfo, StreamFailure, StreamingInfo, StreamOptions
from auricle.errors import EngineError
from auricle.transcript import Hypothesis

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from auricle.audio import Audio
    from auricle.engines.contract import TranscribeOptions
    from auricle.transcript import Transcript

RATE = 1000


class FakeRecognizer:
    """A word for every chunk, `s<stream>c<chunk of the utterance>n<samples>`; quiet chunks (all zero) say nothing."""

    def __init__(
        self,
        slots: int = 100,
        tell: Callable[[list[Feed]], None] = lambda _: None,
        rate: int = RATE,
        first_short: int = 0,
        block: int = 64,
    ) -> None:
        streaming = StreamingInfo((100, 400), (0.0, 0.0), slots, first_short=first_short, block=block)
        self.info = ModelInfo(
            engine="fake",
            name="fake",
            family="fake",
            languages=("*",),
            sample_rate=rate,
            device="cpu",
            precision="fp32",
            streaming=streaming,
        )
        self.open_streams: dict[int, list[str]] = {}
        self.consumed: dict[int, int] = {}
        self.failing: set[int] = set()
        self.raising: EngineError | None = None
        self._opened = 0
        self._tell = tell

    def open(self, options: StreamOptions) -> int:
        assert options.chunk_ms in {None, 100, 400}
        self._opened += 1
        self.open_streams[self._opened] = []
        self.consumed[self._opened] = 0
        return self._opened

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        assert len({feed.stream for feed in ready}) == len(ready)
        self._tell(list(ready))
        if self.raising is not None:
            raise self.raising
        return [self._advance(feed) for feed in ready]

    def close(self, stream: int) -> None:
        del self.open_streams[stream]

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        raise EngineError(f"the fake hears live streams alone: {batch}, {options}, {cancel}")

    def unload(self) -> None:
        self.open_streams.clear()

    def _advance(self, feed: Feed) -> Hypothesis | StreamFailure:
        words = self.open_streams[feed.stream]
        if feed.stream in self.failing:
            del self.open_streams[feed.stream]
            return StreamFailure(feed.stream, EngineError("this stream failed"))
        self.consumed[feed.stream] += len(feed.samples)
        if feed.samples.any():
            words.append(f"s{feed.stream}c{len(words)}n{len(feed.samples)}")
        text = " ".join(words)
        if feed.is_last:
            words.clear()
        return Hypothesis(feed.stream, text, self.consumed[feed.stream] / self.info.sample_rate, feed.is_last)
