"""A recogniser over somebody else's library that takes one recording at a time, in a child process or in this one.

One at a time, because what these libraries make of a batch is not what they make of its recordings alone: padding
reaches convolutions, and sums come out otherwise. The adapters say so in their notes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from auricle.engines.checks import check_cancelled, check_loaded, check_request
from auricle.engines.pool import WorkerPool
from auricle.engines.worker import CANCEL_POLL_S, Worker
from auricle.errors import AuricleError
from auricle.transcript import Segment, Transcript, Word, fit_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import ModelInfo, TranscribeOptions
    from auricle.trace import Tracer

SHORTEST_S = 0.1
"""A shorter recording holds no word and is not given to the library."""
ONE_AT_A_TIME = "one recording at a time: the library's own batches may change a text"


@dataclass(frozen=True, slots=True)
class Heard:
    """What a library heard in one recording; `words` are empty unless they were asked for."""

    text: str
    words: tuple[Word, ...] = ()
    language: str | None = None


class Runner(Protocol):
    """Where the library runs."""

    def run(self, samples: NDArray[np.float32], options: TranscribeOptions, cancel: threading.Event | None) -> Heard:
        """Recognise one recording; waits for its turn. Raises EngineError, UnsupportedError and CancelledError."""
        ...

    def stop(self) -> None:
        """Give memory and processes back."""
        ...


class Service(Protocol):
    """A loaded model of a library."""

    def recognise(self, samples: NDArray[np.float32], options: TranscribeOptions) -> Heard:
        """Recognise one recording at the model's rate."""
        ...

    def close(self) -> None:
        """Let go of what the process holds for it."""
        ...


class ChildRunner:
    """A service in a child process, for a library that may end its process or keep its memory; cancelling ends it."""

    def __init__(self, lane: str, factory: str, args: tuple[object, ...], tracer: Tracer) -> None:
        self._pool = WorkerPool(lambda _: Worker(factory, args, tracer, lane), 1)

    def call(self, method: str) -> object:
        """Start the child and ask it for something; raises what making the service raises."""
        try:
            answer: object = self._pool.call(method)
        except AuricleError:
            self._pool.stop()
            raise
        return answer

    def run(self, samples: NDArray[np.float32], options: TranscribeOptions, cancel: threading.Event | None) -> Heard:
        """Recognise one recording in the child."""
        heard: Heard = self._pool.call("recognise", samples, options, cancel=cancel)
        return heard

    def stop(self) -> None:
        """End the child."""
        self._pool.stop()


class LocalRunner:
    """A service in this process, by one caller at a time; cancelling takes effect before the next recording."""

    def __init__(self, service: Service) -> None:
        self._service: Service | None = service
        self._lock = threading.Lock()

    def run(self, samples: NDArray[np.float32], options: TranscribeOptions, cancel: threading.Event | None) -> Heard:
        """Recognise one recording in the caller's thread."""
        while not self._lock.acquire(timeout=CANCEL_POLL_S):
            check_cancelled(cancel)
        try:
            check_cancelled(cancel)
            check_loaded(unloaded=self._service is None)
            assert self._service is not None  # noqa: S101  the line before
            return self._service.recognise(samples, options)
        finally:
            self._lock.release()

    def stop(self) -> None:
        """Let go of the model."""
        with self._lock:
            service, self._service = self._service, None
        if service is not None:
            service.close()


class LibraryRecognizer:
    """Files, one after the other."""

    def __init__(self, info: ModelInfo, runner: Runner) -> None:
        self.info = info
        self._runner = runner
        self._unloaded = False

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Recognise recordings in order; those under 0.1 s are empty."""
        check_loaded(unloaded=self._unloaded)
        check_request(self.info, batch, options)
        return [self._recognise(audio, options, cancel) for audio in batch]

    def unload(self) -> None:
        """Give memory and processes back."""
        self._unloaded = True
        self._runner.stop()

    def _recognise(self, audio: Audio, options: TranscribeOptions, cancel: threading.Event | None) -> Transcript:
        check_cancelled(cancel)
        known = options.language or (self.info.languages[0] if len(self.info.languages) == 1 else None)
        if audio.duration_s < SHORTEST_S:
            return Transcript("", audio.duration_s, language=known)
        heard = self._runner.run(np.ascontiguousarray(audio.samples, np.float32), options, cancel)
        words = fit_words(heard.words, audio.duration_s)
        text = " ".join(word.text for word in words) if options.word_times else " ".join(heard.text.split())
        segments = (Segment(text, words[0].start, words[-1].end, words),) if words else ()
        return Transcript(text, audio.duration_s, segments, heard.language or known)


def device_index(device: str) -> int | None:
    """Return the number of a CUDA device named `cuda` or `cuda:N`, None for another device."""
    name, _, number = device.partition(":")
    if name != "cuda" or (number and not number.isdecimal()):
        return None
    return int(number or 0)
