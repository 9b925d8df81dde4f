"""An engine that recognises nothing: its words tell which samples it was given.

Every half second of audio becomes one word, `<index>:<checksum of its samples>`, so that audio that was lost, repeated
or reordered on the way is visible in the transcript, and everything but recognition can be measured.
"""

from __future__ import annotations

import itertools
import threading
import zlib
from typing import TYPE_CHECKING

import numpy as np

from auricle.engines.checks import check_choices, check_loaded, check_open, check_request
from auricle.engines.contract import ModelInfo, StreamingInfo, Support
from auricle.errors import CancelledError, EngineError, UnsupportedError
from auricle.transcript import Hypothesis, Segment, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import Feed, LoadOptions, StreamFailure, StreamOptions, TranscribeOptions
    from auricle.trace import Tracer

SAMPLE_RATE = 16_000
WORD_SAMPLES = SAMPLE_RATE // 2
CHUNK_MS = (80, 100, 160, 560, 1120)
SLOTS = 100_000
FULL_SCALE = np.float32(32767)


class _Heard:
    """The words of one utterance so far, and the checksum of the samples that do not make a word yet."""

    def __init__(self, start_s: float = 0.0) -> None:
        self.words: tuple[Word, ...] = ()
        self.text = ""
        self._start_s = start_s
        self._checksum = 0
        self._rest = 0

    def hear(self, pcm: memoryview, *, is_last: bool) -> None:
        """Take samples; the last ones become a word even when they are fewer than half a second."""
        while len(pcm):
            part, pcm = pcm[: WORD_SAMPLES - self._rest], pcm[WORD_SAMPLES - self._rest :]
            self._checksum = zlib.crc32(part, self._checksum)
            self._rest += len(part)
            if self._rest == WORD_SAMPLES:
                self._say()
        if is_last and self._rest:
            self._say()

    def _say(self) -> None:
        index = len(self.words)
        start = self._start_s + index * WORD_SAMPLES / SAMPLE_RATE
        word = Word(f"{index}:{self._checksum:08x}", start, start + self._rest / SAMPLE_RATE)
        self.words += (word,)
        self.text = f"{self.text} {word.text}" if index else word.text
        self._checksum = self._rest = 0


class NullRecognizer:
    """Keeps the streaming contract and hears samples, not speech."""

    def __init__(self, info: ModelInfo, tracer: Tracer) -> None:
        self.info = info
        self._tracer = tracer
        self._streams: dict[int, _Heard] = {}
        self._consumed: dict[int, int] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._unloaded = False

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Describe the samples of every recording."""
        check_loaded(unloaded=self._unloaded)
        check_request(self.info, batch, options)
        transcripts = []
        for audio in batch:
            if cancel is not None and cancel.is_set():
                raise CancelledError("the work was cancelled")
            with self._tracer.span("decode"):
                heard = _Heard()
                heard.hear(_integers([audio.samples]), is_last=True)
            words = heard.words if options.word_times else ()
            segments = (Segment(heard.text, 0.0, audio.duration_s, words),) if heard.words else ()
            transcripts.append(Transcript(heard.text, audio.duration_s, segments, options.language))
        return transcripts

    def open(self, options: StreamOptions) -> int:
        """Start a stream."""
        check_loaded(unloaded=self._unloaded)
        check_open(self.info, options)
        with self._lock:
            if len(self._streams) >= SLOTS:
                raise EngineError("all slots are taken", SLOTS, "close a stream first")
            stream = next(self._numbers)
            self._streams[stream] = _Heard()
            self._consumed[stream] = 0
        return stream

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        """Hear one chunk of every ready stream."""
        check_loaded(unloaded=self._unloaded)
        with self._tracer.span("decode"):
            pcm = _integers([feed.samples for feed in ready])
            ends = itertools.accumulate([len(feed.samples) for feed in ready])
            return [
                self._advance(feed, pcm[end - len(feed.samples) : end]) for feed, end in zip(ready, ends, strict=True)
            ]

    def close(self, stream: int) -> None:
        """Forget a stream."""
        with self._lock:
            if self._streams.pop(stream, None) is None:
                raise EngineError("unknown stream", stream, "open it first")
            del self._consumed[stream]

    def unload(self) -> None:
        """Forget all streams."""
        self._unloaded = True
        self._streams.clear()

    def _advance(self, feed: Feed, pcm: memoryview) -> Hypothesis:
        heard = self._streams.get(feed.stream)
        if heard is None:
            raise EngineError("unknown stream", feed.stream, "open it first")
        heard.hear(pcm, is_last=feed.is_last)
        self._consumed[feed.stream] += len(feed.samples)
        audio_s = self._consumed[feed.stream] / SAMPLE_RATE
        if feed.is_last:
            self._streams[feed.stream] = _Heard(audio_s)
        return Hypothesis(feed.stream, heard.text, audio_s, feed.is_last, len(heard.words), heard.words)


def _integers(pieces: Sequence[NDArray[np.float32]]) -> memoryview:
    """Return the samples of all pieces as 16-bit integers; at once, because each conversion lets other threads in."""
    samples = np.frombuffer(b"".join([np.ascontiguousarray(piece).data for piece in pieces]), np.float32)
    return (samples * FULL_SCALE).astype(np.int16).data


class NullEngine:
    """Loads at once, needs nothing, runs anywhere."""

    name = "null"

    def support(self) -> list[Support]:
        """Usable everywhere, on the CPU."""
        return [Support("cpu", "fp32", usable=True)]

    def load(self, options: LoadOptions, tracer: Tracer) -> NullRecognizer:
        """Make a recogniser; refuses a model, another device or another precision by name."""
        if options.model is not None:
            raise UnsupportedError("the null engine has no models", options.model, "leave the model out")
        if options.device != "cpu":
            raise UnsupportedError("the null engine runs on the CPU alone", options.device, "use device cpu")
        if options.precision not in {None, "fp32"}:
            raise UnsupportedError("the null engine has one precision", options.precision, "use fp32")
        check_choices("the null engine", options)
        info = ModelInfo(
            engine=self.name,
            name=options.model_name or "null",
            family="null",
            languages=("*",),
            sample_rate=SAMPLE_RATE,
            device="cpu",
            precision="fp32",
            parameters=0,
            threads=1,
            features=frozenset({"word_times", "language"}),
            streaming=StreamingInfo(CHUNK_MS, (0.0,) * len(CHUNK_MS), SLOTS),
        )
        return NullRecognizer(info, tracer)


ENGINE = NullEngine()
