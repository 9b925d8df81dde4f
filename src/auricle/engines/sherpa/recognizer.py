"""The caller's side of an offline model, which runs in a child process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auricle.engines.checks import check_loaded, check_request
from auricle.engines.pool import WorkerPool
from auricle.engines.worker import Worker
from auricle.errors import AuricleError
from auricle.transcript import Segment, Transcript, fit_words

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import ModelInfo, TranscribeOptions
    from auricle.engines.sherpa.plan import Plan
    from auricle.engines.sherpa.service import Heard
    from auricle.trace import Tracer

SHORTEST_S = 0.1
"""A shorter recording, below the reach of an encoder's first output, holds no word and is not given to the library."""

SERVICE = "auricle.engines.sherpa.service:make_service"


class SherpaRecognizer:
    """An offline model, called by one caller at a time.

    A crash of its process fails the call under way, a cancelled call ends the process; the next call starts a new one.
    """

    def __init__(self, info: ModelInfo, plan: Plan, tracer: Tracer) -> None:
        self.info = info
        self._plan = plan
        self._tracer = tracer
        self._unloaded = False
        self._pool = WorkerPool(self._start, 1)
        try:
            self._pool.call("ready")
        except AuricleError:
            self._pool.stop()
            raise

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Recognise recordings in one call of the library; those under 0.1 s are empty."""
        check_loaded(unloaded=self._unloaded)
        check_request(self.info, batch, options)
        spoken = [index for index, audio in enumerate(batch) if audio.duration_s >= SHORTEST_S]
        recordings = [np.ascontiguousarray(batch[index].samples, np.float32) for index in spoken]
        heard = self._recognise(recordings, options.language, cancel) if spoken else []
        by_index = dict(zip(spoken, heard, strict=True))
        return [self._transcript(by_index.get(index), audio, options) for index, audio in enumerate(batch)]

    def unload(self) -> None:
        """End the process."""
        self._unloaded = True
        self._pool.stop()

    def _start(self, index: int) -> Worker:
        return Worker(SERVICE, (self._plan,), self._tracer, lane=f"sherpa-onnx-{index}")

    def _recognise(
        self, recordings: list[NDArray[np.float32]], language: str | None, cancel: threading.Event | None
    ) -> list[Heard]:
        heard: list[Heard] = self._pool.call("transcribe", recordings, language, cancel=cancel)
        return heard

    def _transcript(self, heard: Heard | None, audio: Audio, options: TranscribeOptions) -> Transcript:
        language = self.info.languages[0] if len(self.info.languages) == 1 else None
        if heard is None:
            return Transcript("", audio.duration_s, language=language)
        words = fit_words(heard.words, audio.duration_s)
        shown = words if options.word_times else ()
        segments = (Segment(heard.text, words[0].start, words[-1].end, shown),) if words else ()
        return Transcript(heard.text, audio.duration_s, segments, heard.language or language)
