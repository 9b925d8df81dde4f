"""Ticks: what the engine thread does, without a clock or a thread of its own, so that it is tested by simulation.

A tick takes one chunk from every stream that has a whole one (or a mark to reach), the longest waiting first, and steps
them through the recogniser in blocks. A stream without a whole chunk sits the tick out; nothing assumes that it does
not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auricle.engines.contract import Feed, StreamFailure, StreamingRecognizer, StreamOptions
from auricle.errors import AuricleError, EngineError
from auricle.live.buffer import NOTHING, AudioBuffer, Mark, Taken
from auricle.live.endpoint import Endpointer, EndpointRules
from auricle.live.stability import StablePrefix
from auricle.transcript import Hypothesis, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.live.admission import Admission

MAX_BLOCK = 64
MS_PER_S = 1000


@dataclass(frozen=True, slots=True)
class Partial:
    """The text of the utterance so far; the first `stable_words` words of it are shown for good."""

    text: str
    words: tuple[Word, ...]
    stable_words: int
    new_stable: tuple[str, ...]
    audio_s: float


@dataclass(frozen=True, slots=True)
class Final:
    """An utterance that has ended, by an endpoint (`mark` None) or at a mark; its text is immutable.

    `start_s` and `audio_s` are where it starts and ends, in seconds since the stream was opened.
    """

    text: str
    words: tuple[Word, ...]
    start_s: float
    audio_s: float
    mark: Mark | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The stream cannot go on."""

    error: AuricleError


Event = Partial | Final | Failed


@dataclass(slots=True, eq=False)
class LiveStream:
    """A stream as the scheduler knows it.

    `number` is the recogniser's, None before it is opened and after its end. A partial that says nothing new is left
    out unless `every_partial` is wanted, to see when each chunk was dealt with.
    """

    buffer: AudioBuffer
    options: StreamOptions
    period_s: float
    rate: int
    endpointer: Endpointer
    every_partial: bool = False
    stable: StablePrefix = field(default_factory=StablePrefix)
    number: int | None = None
    text: str = ""
    spoken: list[str] = field(default_factory=list)
    consumed: int = 0
    utterance_start: int = 0
    chunks: int = 0
    late_chunks: int = 0

    @property
    def consumed_s(self) -> float:
        """Seconds of audio that the engine has been given."""
        return self.consumed / self.rate


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step as metrics want it: seconds that it took, that each chunk waited, and of audio in all; late chunks."""

    duration_s: float
    waits_s: tuple[float, ...]
    audio_s: float = 0.0
    late_chunks: int = 0


def make_stream(
    recognizer: StreamingRecognizer, options: StreamOptions, rules: EndpointRules, *, every_partial: bool = False
) -> LiveStream:
    """Return a stream of the recogniser's chunk size, not yet opened."""
    info = recognizer.info
    if info.streaming is None:
        raise EngineError(f"{info.name} does not serve live streams", None, "choose a streaming model")
    chunk_ms = options.chunk_ms or info.streaming.chunk_ms[0]
    buffer = AudioBuffer(chunk_ms * info.sample_rate // MS_PER_S)
    return LiveStream(buffer, options, chunk_ms / MS_PER_S, info.sample_rate, Endpointer(rules), every_partial)


def _report(fed: Sequence[tuple[LiveStream, Taken]], start_s: float, end_s: float) -> StepReport:
    waits_s = tuple(start_s - taken.since_s for _, taken in fed)
    audio_s = sum(len(taken.samples) / stream.rate for stream, taken in fed)
    late_chunks = sum(end_s - taken.since_s > stream.period_s for stream, taken in fed)
    return StepReport(end_s - start_s, waits_s, audio_s, late_chunks)


class Scheduler:
    """Owns the recogniser's streams; `behind` tells that one of the last tick has more to give.

    All methods but `notify` are called on the engine thread.
    """

    def __init__(
        self,
        recognizer: StreamingRecognizer,
        admission: Admission,
        clock: Callable[[], float],
        max_block: int = MAX_BLOCK,
        observe: Callable[[StepReport], None] = lambda _: None,
    ) -> None:
        self._recognizer = recognizer
        self._admission = admission
        self._clock = clock
        self._max_block = max_block
        self._observe = observe
        self._ready: deque[LiveStream] = deque()
        self._out: list[tuple[LiveStream, Event]] = []
        self.streams: set[LiveStream] = set()
        self.behind = False

    @property
    def has_work(self) -> bool:
        """Whether a stream is ready."""
        return bool(self._ready)

    def notify(self, stream: LiveStream) -> None:
        """Note that the stream's buffer became ready; called by whoever made it so, from any thread."""
        self._ready.append(stream)

    def add(self, stream: LiveStream) -> None:
        """Open the stream in the recogniser; raises RefusedError or what `open` raises."""
        self._admission.check([other.period_s for other in self.streams], stream.period_s, self._clock())
        stream.number = self._recognizer.open(stream.options)
        self.streams.add(stream)

    def remove(self, stream: LiveStream) -> None:
        """Close the stream; one that is gone already is left alone."""
        self.streams.discard(stream)
        if stream.number is not None:
            number, stream.number = stream.number, None
            self._recognizer.close(number)

    def tick(self) -> list[tuple[LiveStream, Event]]:
        """Give every ready stream its next chunk, and return what was heard, in order."""
        self.behind = False
        taken = [self._take(self._ready.popleft()) for _ in range(len(self._ready))]
        ready = sorted((pair for pair in taken if pair is not None), key=lambda pair: pair[1].since_s)
        for start in range(0, len(ready), self._max_block):
            self._step(ready[start : start + self._max_block])
        out, self._out = self._out, []
        return out

    def _take(self, stream: LiveStream) -> tuple[LiveStream, Taken] | None:
        if stream.number is None:
            return None
        taken = stream.buffer.take()
        if taken is None:
            return None
        if taken.more:
            self._ready.append(stream)
            self.behind = True
        return stream, taken

    def _step(self, block: Sequence[tuple[LiveStream, Taken]]) -> None:
        fed: list[tuple[LiveStream, Taken]] = []
        for stream, taken in block:
            if taken.mark is not None and not len(taken.samples) and stream.consumed == stream.utterance_start:
                self._finish(stream, Hypothesis(0, "", stream.consumed_s, is_final=True), taken.mark)
            else:
                fed.append((stream, taken))
        self._flush([stream for stream, heard in self._advance(fed) if heard])

    def _advance(self, fed: Sequence[tuple[LiveStream, Taken]]) -> list[tuple[LiveStream, bool]]:
        """Step the streams, and return each that goes on with whether its utterance is to end here."""
        start = self._clock()
        results = self._call([(stream, taken.samples, taken.mark is not None) for stream, taken in fed])
        end = self._clock()
        if fed:
            self._observe(_report(fed, start, end))
        going_on = []
        for (stream, taken), result in zip(fed, results, strict=True):
            if result is None:
                continue
            stream.chunks += 1
            stream.late_chunks += end - taken.since_s > stream.period_s
            stream.consumed += len(taken.samples)
            if taken.mark is not None:
                self._finish(stream, result, taken.mark)
            else:
                going_on.append((stream, self._hear(stream, result)))
        return going_on

    def _flush(self, streams: Sequence[LiveStream]) -> None:
        """End the utterances of these streams now; what follows belongs to the next."""
        for stream, result in zip(streams, self._call([(stream, NOTHING, True) for stream in streams]), strict=True):
            if result is not None:
                self._finish(stream, result, None)

    def _call(self, wanted: Sequence[tuple[LiveStream, NDArray[np.float32], bool]]) -> list[Hypothesis | None]:
        """Make one step; streams that fail are told so, removed, and None in the answer."""
        if not wanted:
            return []
        feeds = [
            Feed(stream.number, samples, is_last) for stream, samples, is_last in wanted if stream.number is not None
        ]
        start = self._clock()
        try:
            results = self._recognizer.step(feeds)
        except AuricleError as error:
            for stream, _, _ in wanted:
                self._fail(stream, error)
            return [None] * len(wanted)
        end = self._clock()
        self._admission.observe(len(feeds), start, end, len(self.streams))
        answer: list[Hypothesis | None] = []
        for (stream, _, _), result in zip(wanted, results, strict=True):
            if isinstance(result, StreamFailure):
                stream.number = None  # the recogniser has closed it
                self._fail(stream, result.error)
                answer.append(None)
            else:
                answer.append(result)
        return answer

    def _hear(self, stream: LiveStream, heard: Hypothesis) -> bool:
        changed = heard.text != stream.text
        if changed:
            stream.text, stream.spoken = heard.text, heard.text.split()
        new = stream.stable.update(stream.spoken, heard.stable_words)
        if changed or new or stream.every_partial:
            partial = Partial(heard.text, heard.words, len(stream.stable.words), tuple(new), stream.consumed_s)
            self._out.append((stream, partial))
        return stream.endpointer.update(heard.text, stream.consumed_s)

    def _finish(self, stream: LiveStream, heard: Hypothesis, mark: Mark | None) -> None:
        start_s = stream.utterance_start / stream.rate
        stream.utterance_start = stream.consumed
        stream.stable = StablePrefix()
        stream.text, stream.spoken = "", []
        stream.endpointer.restart(stream.consumed_s)
        self._out.append((stream, Final(heard.text, heard.words, start_s, stream.consumed_s, mark)))
        if mark is not None and mark.ends_stream:
            self.remove(stream)

    def _fail(self, stream: LiveStream, error: AuricleError) -> None:
        self._out.append((stream, Failed(error)))
        self.remove(stream)
