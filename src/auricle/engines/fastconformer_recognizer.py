"""A loaded FastConformer model as the contract wants it: files in batches whose memory is bounded."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from auricle.engines.checks import check_request
from auricle.engines.fastconformer_threads import THREADS
from auricle.errors import CancelledError, EngineError
from auricle.fastconformer.memory import groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auricle.audio import Audio
    from auricle.engines.contract import ModelInfo, TranscribeOptions
    from auricle.fastconformer.model import FastConformer
    from auricle.trace import Tracer
    from auricle.transcript import Transcript

_POLL_S = 0.05


class FastConformerRecognizer:
    """Recognises files; calls from several threads take turns, batch by batch, so that memory stays bounded."""

    def __init__(self, model: FastConformer, info: ModelInfo, tracer: Tracer) -> None:
        self.info = info
        self._model: FastConformer | None = model
        self._tracer = tracer
        self._turn = threading.Lock()
        self._unloading = threading.Lock()

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Recognise recordings, those of similar length together; `cancel` is heeded between stages."""
        check_request(self.info, batch, options)
        transcripts: dict[int, Transcript] = {}
        for group in groups(self._loaded().config, [len(audio.samples) for audio in batch]):
            with self._alone(cancel):
                made = self._recognise([batch[index] for index in group], cancel)
            transcripts.update(zip(group, made, strict=True))
        return [self._answer(transcripts[index], options) for index in range(len(batch))]

    def unload(self) -> None:
        """Free the model; a call under way ends after its batch."""
        with self._unloading:
            if self._model is not None:
                self._model = None
                THREADS.give_back()

    def _recognise(self, group: Sequence[Audio], cancel: threading.Event | None) -> list[Transcript]:
        model = self._loaded()
        THREADS.use()
        with self._stage("features", cancel):
            features = model.features([audio.samples for audio in group])
        with self._stage("encoder", cancel):
            encoded = model.encode_features(*features)
        del features
        with self._stage("decode", cancel):
            tokens = model.decode(*encoded)
        with self._stage("detokenise", cancel):
            return model.detokenise(tokens, [audio.duration_s for audio in group])

    @contextmanager
    def _stage(self, name: str, cancel: threading.Event | None) -> Iterator[None]:
        """Trace a stage of the network; what goes wrong within torch is an EngineError."""
        _check(cancel)
        try:
            with self._tracer.span(name):
                yield
        except (RuntimeError, MemoryError) as error:
            raise EngineError(
                f"the stage {name!r} failed", error, "give shorter or fewer recordings at once"
            ) from error

    @contextmanager
    def _alone(self, cancel: threading.Event | None) -> Iterator[None]:
        """Wait for this call's turn, or for `cancel`."""
        _check(cancel)
        while not self._turn.acquire(timeout=_POLL_S):
            _check(cancel)
        try:
            yield
        finally:
            self._turn.release()

    def _answer(self, transcript: Transcript, options: TranscribeOptions) -> Transcript:
        """Return a transcript with words only where they were asked for, and the language that the model has."""
        language = self.info.languages[0] if self.info.languages else None
        segments = transcript.segments
        if not options.word_times:
            segments = tuple(replace(segment, words=()) for segment in segments)
        return replace(transcript, segments=segments, language=language)

    def _loaded(self) -> FastConformer:
        model = self._model
        if model is None:
            raise EngineError("the recogniser was unloaded", None, "load it again")
        return model


def _check(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise CancelledError("the work was cancelled")
