"""A loaded FastConformer model as the contract wants it: files in batches whose memory is bounded."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from auricle.engines.checks import check_request
from auricle.engines.contract import TranscribeOptions
from auricle.engines.torch_threads import THREADS
from auricle.errors import CancelledError, EngineError
from auricle.fastconformer.memory import groups
from auricle.turns import give_way

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import ModelInfo
    from auricle.fastconformer.model import FastConformer
    from auricle.fastconformer.phrases import Phrases
    from auricle.trace import Tracer
    from auricle.transcript import Transcript
    from auricle.turns import Turns

_POLL_S = 0.05
_LEAST_S = 0.01
"""What an empty recording counts as."""


class FastConformerRecognizer:
    """Recognises files; calls from several threads take turns, batch by batch, so that memory stays bounded.

    With `turns` live steps go first, between pieces of a batch; the batches are smaller while streams are live.
    """

    def __init__(self, model: FastConformer, info: ModelInfo, tracer: Tracer, turns: Turns | None = None) -> None:
        self.info = info
        self.turns = turns
        self._model: FastConformer | None = model
        self._tracer = tracer
        self._turn = threading.Lock()
        self._unloading = threading.Lock()

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Recognise recordings, those of similar length together; `cancel` is heeded between stages."""
        check_request(self.info, batch, options)
        phrases = self._loaded().spell(options.keywords)
        transcripts: dict[int, Transcript] = {}
        for whole in self._groups(batch):
            waiting = whole
            while waiting:
                with self._alone(cancel):
                    group = waiting[: self._together(batch[waiting[0]].duration_s)]
                    chosen = [batch[index] for index in group]
                    with self._turn_of(chosen):
                        made = self._recognise(chosen, phrases, options.language, cancel)
                transcripts.update(zip(group, made, strict=True))
                waiting = waiting[len(group) :]
        return [self._answer(transcripts[index], options) for index in range(len(batch))]

    def encoder_frames(self, batch: Sequence[Audio]) -> list[NDArray[np.float32]]:
        """Return the encoder's frames of recordings, `(frames, width)` each, for who compares precisions."""
        check_request(self.info, batch, TranscribeOptions())
        frames: dict[int, NDArray[np.float32]] = {}
        for group in self._groups(batch):
            with self._alone(None), self._stage("encoder", None):
                THREADS.use()
                encoded, lengths = self._loaded().encode([batch[index].samples for index in group])
                frames |= {
                    index: row[:length].cpu().numpy()
                    for index, row, length in zip(group, encoded, lengths.tolist(), strict=True)
                }
        return [frames[index] for index in range(len(batch))]

    def unload(self) -> None:
        """Free the model; a call under way ends after its batch."""
        with self._unloading:
            if self._model is not None:
                self._model = None
                THREADS.give_back()

    def _recognise(
        self, group: Sequence[Audio], phrases: Phrases, language: str | None, cancel: threading.Event | None
    ) -> list[Transcript]:
        model = self._loaded()
        THREADS.use()
        with self._stage("features", cancel):
            features = model.features([audio.samples for audio in group])
        with self._stage("encoder", cancel):
            encoded = model.encode_features(*features, language=self._told(language))
        del features
        with self._stage("decode", cancel):
            tokens = model.decode(*encoded, phrases=phrases)
        with self._stage("detokenise", cancel):
            return model.detokenise(tokens, [audio.duration_s for audio in group])

    @contextmanager
    def _stage(self, name: str, cancel: threading.Event | None) -> Iterator[None]:
        """Trace a stage of the network; what goes wrong within torch is an EngineError."""
        _check(cancel)
        give_way()
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

    def _together(self, longest_s: float) -> int | None:
        """Return how many recordings are computed together, None for as many as there is memory for."""
        fitting_s = math.inf if self.turns is None else self.turns.fitting_s
        return None if fitting_s == math.inf else max(1, int(fitting_s / max(longest_s, _LEAST_S)))

    @contextmanager
    def _turn_of(self, group: Sequence[Audio]) -> Iterator[None]:
        """Compute recordings in the turn of files."""
        if self.turns is None:
            yield
            return
        with self.turns.files(len(group) * max(audio.duration_s for audio in group) or _LEAST_S, self._loaded().settle):
            yield

    def _answer(self, transcript: Transcript, options: TranscribeOptions) -> Transcript:
        """Return a transcript with words only where they were asked for, and the language heard, asked for or known."""
        language = transcript.language or options.language
        if language is None and len(self.info.languages) == 1:
            language = self.info.languages[0]
        segments = transcript.segments
        if not options.word_times:
            segments = tuple(replace(segment, words=()) for segment in segments)
        return replace(transcript, segments=segments, language=language)

    def _told(self, language: str | None) -> str | None:
        """Return the language as the model is told it: not at all, where it has but one."""
        return None if self._loaded().config.prompts is None else language

    def _groups(self, batch: Sequence[Audio]) -> list[list[int]]:
        model = self._loaded()
        return groups(model.config, [len(audio.samples) for audio in batch], model.precision)

    def _loaded(self) -> FastConformer:
        model = self._model
        if model is None:
            raise EngineError("the recogniser was unloaded", None, "load it again")
        return model


def _check(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise CancelledError("the work was cancelled")
