"""The child-process side of the engine, the only place where sherpa-onnx is imported."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.engines.sherpa.builders import build_offline, build_online
from auricle.engines.sherpa.plan import FRAME_SAMPLES, SAMPLE_RATE
from auricle.engines.sherpa.words import Pieces, join_words
from auricle.errors import EngineError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from auricle.engines.sherpa.plan import Plan, Windows
    from auricle.trace import Tracer
    from auricle.transcript import Word

RECOGNISE = "recognise"
"""The stage of encoder and search, which sherpa-onnx runs in one call."""

_SWALLOWS_ERRORS = frozenset({"whisper", "sense-voice"})


@dataclass(frozen=True, slots=True)
class Heard:
    """One result; word times in seconds from the start of the utterance."""

    text: str
    words: list[Word]
    language: str | None = None


@dataclass(frozen=True, slots=True)
class LiveFeed:
    """One chunk of a stream, shape `(samples,)` float32."""

    stream: int
    samples: NDArray[np.float32]
    is_last: bool


class OfflineService:
    """Recognises batches of whole recordings."""

    def __init__(self, tracer: Tracer, plan: Plan) -> None:
        self._tracer = tracer
        self._plan = plan
        self._language: str | None = None
        self._recogniser = _checked(plan, partial(build_offline, plan, None))

    def ready(self) -> None:
        """Answer once the model is loaded."""

    def transcribe(self, recordings: Sequence[NDArray[np.float32]], language: str | None) -> list[Heard]:
        """Recognise recordings together; `language` None leaves it to the model."""
        self._speak(language)
        streams = []
        with self._tracer.span("features"):
            for samples in recordings:
                streams.append(self._recogniser.create_stream())
                streams[-1].accept_waveform(SAMPLE_RATE, samples)
        with self._tracer.span(RECOGNISE):
            self._decode(streams)
        with self._tracer.span("detokenise"):
            return [self._heard(stream.result) for stream in streams]

    def _speak(self, language: str | None) -> None:
        """Set the language: Whisper takes a new one, SenseVoice must be loaded again."""
        if language == self._language:
            return
        if self._plan.kind == "whisper":
            config = self._recogniser.config
            config.model_config.whisper.language = language or ""
            self._recogniser.recognizer.set_config(config)
        else:
            self._recogniser = None
            self._recogniser = _checked(self._plan, partial(build_offline, self._plan, language))
        self._language = language

    def _decode(self, streams: list[Any]) -> None:
        if self._plan.kind not in _SWALLOWS_ERRORS:
            _decode_streams(self._recogniser, streams, self._plan)
            return
        with _overheard() as said:
            _decode_streams(self._recogniser, streams, self._plan)
        if any("Caught exception" in line for line in said):
            raise EngineError("sherpa-onnx failed and gave an empty result", " ".join(said)[:400])

    def _heard(self, result: Any) -> Heard:
        words = []
        if self._plan.has_word_times:
            pieces = Pieces(_tokens(result), result.timestamps, result.durations, result.ys_log_probs)
            words = join_words(pieces)
        return Heard(result.text.strip(), words, result.lang.strip("<|>") or None)


class LiveService:
    """Advances live streams, each at its own place, all that are ready together."""

    def __init__(self, tracer: Tracer, plan: Plan, windows: Windows) -> None:
        self._tracer = tracer
        self._plan = plan
        self._windows = windows
        self._recogniser = _checked(plan, partial(build_online, plan))
        self._streams: dict[int, Any] = {}
        self._unheard: set[int] = set()

    def ready(self) -> None:
        """Answer once the model is loaded."""

    def open(self, streams: Sequence[int]) -> None:
        """Start streams."""
        for stream in streams:
            self._restart(stream)

    def close(self, streams: Sequence[int]) -> None:
        """Forget streams, also those that a process before this one held."""
        for stream in streams:
            self._streams.pop(stream, None)
            self._unheard.discard(stream)

    def step(self, feeds: Sequence[LiveFeed]) -> list[Heard | None]:
        """Advance streams; None stands for a stream that a process before this one held."""
        known = [feed for feed in feeds if feed.stream in self._streams]
        with self._tracer.span("features"):
            for feed in known:
                self._accept(feed)
        with self._tracer.span(RECOGNISE):
            while ready := [s for feed in known if self._recogniser.is_ready(s := self._streams[feed.stream])]:
                _decode_streams(self._recogniser, ready, self._plan)
        with self._tracer.span("detokenise"):
            heard = {feed.stream: self._heard(feed) for feed in known}
        return [heard.get(feed.stream) for feed in feeds]

    def _restart(self, stream: int) -> None:
        self._streams[stream] = self._recogniser.create_stream()
        self._streams[stream].accept_waveform(SAMPLE_RATE, _silence(self._windows.left))
        self._unheard.add(stream)

    def _accept(self, feed: LiveFeed) -> None:
        stream = self._streams[feed.stream]
        if len(feed.samples):
            stream.accept_waveform(SAMPLE_RATE, feed.samples)
            self._unheard.discard(feed.stream)
        if feed.is_last and feed.stream not in self._unheard:
            stream.accept_waveform(SAMPLE_RATE, _silence(self._windows.tail))
            stream.input_finished()

    def _heard(self, feed: LiveFeed) -> Heard:
        result = self._recogniser.get_result_all(self._streams[feed.stream])
        if feed.is_last:
            self._restart(feed.stream)
        words = []
        if self._plan.has_word_times:
            starts = [self._windows.time_scale * start for start in result.timestamps]
            words = join_words(Pieces(result.tokens, starts, log_probs=result.ys_probs))
        return Heard(result.text.strip(), words)


def make_service(tracer: Tracer, plan: Plan) -> OfflineService | LiveService:
    """Load the model of `plan`; raises UnsupportedError when the library does not run it where it was asked to."""
    return OfflineService(tracer, plan) if plan.windows is None else LiveService(tracer, plan, plan.windows)


def _decode_streams(recogniser: Any, streams: list[Any], plan: Plan) -> None:
    for batch in [streams] if plan.batches else [[stream] for stream in streams]:
        recogniser.decode_streams(batch)


def _checked(plan: Plan, build: Callable[[], Any]) -> Any:
    """Build a recogniser and heed what the library says of where it runs, unless that is the CPU anyway."""
    if plan.provider == "cpu":
        return build()
    with _overheard() as said:
        recogniser = build()
    fell_back = [line for line in said if "fallback to" in line.lower()]
    if fell_back:
        remedy = "use device cpu, or install a build of sherpa-onnx for this device"
        raise UnsupportedError(f"sherpa-onnx did not run the model on {plan.provider}", fell_back[0], remedy)
    return recogniser


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Collect what is written to standard error, by C++ too, and pass it on at the end, if the process lives to it."""
    said: list[str] = []
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        original = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(original, 2)
            os.close(original)
            kept.seek(0)
            written = kept.read()
            os.write(2, written)
            said.extend(written.decode(errors="replace").splitlines())


def _tokens(result: Any) -> list[str]:
    try:
        tokens: list[str] = result.tokens
    except UnicodeDecodeError as error:
        raise EngineError("sherpa-onnx split a character between pieces, so that words have no times", error) from error
    return tokens


def _silence(frames: int) -> NDArray[np.float32]:
    return np.zeros(frames * FRAME_SAMPLES, np.float32)
