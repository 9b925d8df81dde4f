"""Ticks: what the engine thread does, without a clock or a thread of its own, so that it is tested by simulation.

A tick takes one chunk from every stream that has a whole one (or a mark to reach), the longest waiting first, and steps
them through the recogniser in blocks. A stream without a whole chunk sits the tick out; nothing assumes that it does
not. Streams with rules of voice go through the detector first; where silence ends an utterance within a chunk, the
recogniser is given the chunk up to there as the utterance's last, and the rest goes back to the buffer.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from auricle.engines.contract import Feed, StreamFailure, TakesTurns
from auricle.errors import AuricleError
from auricle.live.buffer import NOTHING
from auricle.live.events import Failed, Final, Partial
from auricle.live.stability import StablePrefix
from auricle.live.voice import Voice, listen
from auricle.transcript import Hypothesis
from auricle.turns import Turns, Wait
from auricle.vad import load_detector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.engines.contract import StreamingRecognizer
    from auricle.live.admission import Admission
    from auricle.live.buffer import Mark, Taken
    from auricle.live.events import Event, Stamps
    from auricle.live.stream import LiveStream
    from auricle.live.voice import Detector

log = logging.getLogger("auricle.live")


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step as metrics want it: seconds that it took, that each chunk waited, and of audio in all; late chunks.

    Of each wait `tick_waits_s` is what came before the tick; for files the whole step waited `files_s`, for so many
    pieces of their work.
    """

    duration_s: float
    waits_s: tuple[float, ...]
    audio_s: float = 0.0
    late_chunks: int = 0
    tick_waits_s: tuple[float, ...] = ()
    files_s: float = 0.0
    file_pieces: int = 0


class _Fed(NamedTuple):
    """What one stream is given in a step; `is_last` ends its utterance."""

    stream: LiveStream
    taken: Taken
    is_last: bool


def _report(fed: Sequence[_Fed], began_s: float, start_s: float, end_s: float, files: Wait) -> StepReport:
    waits_s = tuple([start_s - each.taken.since_s for each in fed])
    tick_waits_s = tuple([max(began_s - each.taken.since_s, 0.0) for each in fed])
    audio_s = sum([len(each.taken.samples) / each.stream.rate for each in fed])
    late_chunks = sum([end_s - each.taken.since_s > each.stream.period_s for each in fed])
    return StepReport(end_s - start_s, waits_s, audio_s, late_chunks, tick_waits_s, files.waited_s, files.pieces)


class Scheduler:
    """Owns the recogniser's streams; `behind` tells that one of the last tick has more to give.

    All methods but `notify` are called on the engine thread.
    """

    def __init__(
        self,
        recognizer: StreamingRecognizer,
        admission: Admission,
        clock: Callable[[], float],
        observe: Callable[[StepReport], None] = lambda _: None,
        detector: Callable[[], Detector] = load_detector,
    ) -> None:
        self._recognizer = recognizer
        self._admission = admission
        self._clock = clock
        streaming = recognizer.info.streaming
        self._max_block = 1 if streaming is None else streaming.block
        self._observe = observe
        self._detector = detector
        self._ready: deque[LiveStream] = deque()
        self._out: list[tuple[LiveStream, Event]] = []
        self._began_s = 0.0
        self._turns = (recognizer.turns if isinstance(recognizer, TakesTurns) else None) or Turns(clock)
        self._files = Wait()
        self._chunks_per_s = 0.0
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
        """Open the stream in the recogniser; raises RefusedError or what `open`, or loading the detector, raises."""
        self._admission.check([other.period_s for other in self.streams], stream.period_s, self._clock())
        if (rules := stream.endpointer.rules.voice) is not None:
            stream.voice = Voice(rules, stream.rate, self._detector())
        stream.number = self._recognizer.open(stream.options)
        self.streams.add(stream)
        self._count(stream, 1)

    def remove(self, stream: LiveStream) -> None:
        """Close the stream; one that is gone already is left alone, and a failure to close harms no other."""
        if stream in self.streams:
            self.streams.remove(stream)
            self._count(stream, -1)
        if stream.number is not None:
            number, stream.number = stream.number, None
            try:
                self._recognizer.close(number)
            except Exception:
                log.exception("a live stream could not be closed")

    def _count(self, stream: LiveStream, change: int) -> None:
        """Keep what depends on who is there: the default chunks that come in a second, and that there are streams."""
        self._turns.live = len(self.streams)
        self._chunks_per_s += change * self._admission.weight(stream.period_s) / stream.period_s
        if not self.streams:
            self._chunks_per_s = 0.0

    def tick(self) -> Iterator[list[tuple[LiveStream, Event]]]:
        """Give every ready stream its next chunk, and yield what was heard after each step, in order."""
        self.behind = False
        self._began_s = self._clock()
        taken = [self._take(self._ready.popleft()) for _ in range(len(self._ready))]
        ready = sorted((pair for pair in taken if pair is not None), key=lambda pair: pair[1].since_s)
        while ready:
            block = ready[: self._together(ready)]
            ready = ready[len(block) :]
            asked_s = self._clock()
            with self._turns.step() as self._files:
                if self._files.pieces:
                    self._admission.blocked(asked_s, asked_s + self._files.waited_s, len(self.streams))
                self._step(block)
            if ready:
                yield self._heard()
        yield self._heard()

    def _heard(self) -> list[tuple[LiveStream, Event]]:
        out, self._out = self._out, []
        return out

    def _together(self, ready: Sequence[tuple[LiveStream, Taken]]) -> int:
        """Return how many of the first are stepped together: all, or a power of two that is short enough."""
        most = min(len(ready), self._max_block)
        weights = accumulate([self._admission.weight(stream.period_s) for stream, _ in ready[:most]])
        limit = self._admission.most_together(self._chunks_per_s)
        short = sum([weight <= limit for weight in weights])
        return most if short == most else 1 << max(short, 1).bit_length() - 1

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
        start = self._clock()
        self._listen(block)
        fed: list[_Fed] = []
        for stream, taken in block:
            if taken.mark is not None and not len(taken.samples) and stream.consumed == stream.utterance_start:
                stamps = (taken.since_s, self._began_s, start, start)
                self._finish(stream, Hypothesis(0, "", stream.consumed_s, is_final=True), taken.mark, stamps)
            else:
                fed.append(self._cut(stream, taken))
        self._flush([stream for stream, heard in self._advance(fed, start) if heard])

    def _listen(self, block: Sequence[tuple[LiveStream, Taken]]) -> None:
        """Let the detector judge what is new of streams with rules of voice; what was put back it has heard before."""
        fed = [
            (stream.voice, taken.samples[stream.voice.heard - stream.consumed :])
            for stream, taken in block
            if stream.voice is not None
        ]
        if fed:
            listen(self._detector(), fed)

    def _cut(self, stream: LiveStream, taken: Taken) -> _Fed:
        """Return what is fed: all of it, or what comes before the place at which silence ends the utterance."""
        end = stream.consumed + len(taken.samples)
        cut = None if stream.voice is None else stream.voice.cut(stream.utterance_start, end)
        if cut is None:
            return _Fed(stream, taken, is_last=taken.mark is not None)
        count = max(cut - stream.consumed, 0)
        if stream.buffer.put_back(taken, count):
            self._ready.append(stream)
            self.behind = True
        return _Fed(stream, taken._replace(samples=taken.samples[:count], mark=None), is_last=True)

    def _advance(self, fed: Sequence[_Fed], start: float) -> list[tuple[LiveStream, bool]]:
        """Step the streams, and return each that goes on with whether its utterance is to end here."""
        results = self._call([(each.stream, each.taken.samples, each.is_last) for each in fed], start)
        end = self._clock()
        if fed:
            self._observe(_report(fed, self._began_s, start, end, self._files))
        going_on = []
        for each, result in zip(fed, results, strict=True):
            if result is None:
                continue
            stream, taken = each.stream, each.taken
            stream.chunks += 1
            stream.late_chunks += end - taken.since_s > stream.period_s
            stream.consumed += len(taken.samples)
            self._tell_speech(stream)
            stream.stamps = (taken.since_s, self._began_s, start, end)
            if each.is_last:
                self._finish(stream, result, taken.mark, stream.stamps)
            else:
                going_on.append((stream, self._hear(stream, result)))
        return going_on

    def _flush(self, streams: Sequence[LiveStream]) -> None:
        """End the utterances of these streams now; what follows belongs to the next."""
        for stream in streams:
            if stream.buffer.restart():
                self._ready.append(stream)
                self.behind = True
        wanted = [(stream, NOTHING, True) for stream in streams]
        for stream, result in zip(streams, self._call(wanted, self._clock()), strict=True):
            if result is not None:
                self._finish(stream, result, None, stream.stamps)

    def _call(
        self, wanted: Sequence[tuple[LiveStream, NDArray[np.float32], bool]], start: float
    ) -> list[Hypothesis | None]:
        """Step; the work began at `start`; streams that fail are told so, removed, and None in the answer."""
        if not wanted:
            return []
        feeds = [
            Feed(stream.number, samples, is_last) for stream, samples, is_last in wanted if stream.number is not None
        ]
        try:
            results = self._recognizer.step(feeds)
        except AuricleError as error:
            log.error("a step of %d live streams failed: %s", len(wanted), error)  # noqa: TRY400  no defect of ours
            for stream, _, _ in wanted:
                self._fail(stream, error)
            return [None] * len(wanted)
        end = self._clock()
        self._admission.observe([stream.period_s for stream, _, _ in wanted], start, end, len(self.streams))
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
            partial = Partial(
                heard.text, heard.words, len(stream.stable.words), tuple(new), stream.consumed_s, stream.stamps
            )
            self._out.append((stream, partial))
        return stream.endpointer.update(heard.text, stream.consumed_s)

    def _tell_speech(self, stream: LiveStream, *, ended: bool = False) -> None:
        if stream.voice is not None:
            events = stream.voice.finish() if ended else stream.voice.told(stream.consumed)
            self._out += [(stream, event) for event in events]

    def _finish(self, stream: LiveStream, heard: Hypothesis, mark: Mark | None, stamps: Stamps | None) -> None:
        self._tell_speech(stream, ended=mark is not None and mark.ends_stream)
        start_s = stream.utterance_start / stream.rate
        stream.utterance_start = stream.consumed
        stream.stable = StablePrefix()
        stream.text, stream.spoken = "", []
        stream.endpointer.restart(stream.consumed_s)
        self._out.append((stream, Final(heard.text, heard.words, start_s, stream.consumed_s, mark, stamps)))
        if mark is not None and mark.ends_stream:
            self.remove(stream)

    def _fail(self, stream: LiveStream, error: AuricleError) -> None:
        self._out.append((stream, Failed(error)))
        self.remove(stream)
