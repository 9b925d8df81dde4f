"""A loaded Qwen3-ASR model as the contract wants it: files in batches whose memory is bounded."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from auricle.engines.checks import check_request
from auricle.engines.contract import TranscribeOptions
from auricle.engines.torch_threads import THREADS
from auricle.errors import CancelledError, EngineError
from auricle.qwen3.stages import Meter
from auricle.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import ModelInfo
    from auricle.qwen3.model import Qwen3Asr
    from auricle.trace import Tracer

MOST_ROWS = 32
CACHE_BYTES = 2_000_000_000
"""What the cache of a batch may take, unless one recording alone needs more."""

_POLL_S = 0.02


class Qwen3Recognizer:
    """Recognises files; calls from several threads take turns, batch by batch."""

    def __init__(self, model: Qwen3Asr, info: ModelInfo, tracer: Tracer) -> None:
        self.info = info
        self._model: Qwen3Asr | None = model
        self._meter = Meter(tracer, model.device)
        self._turn = threading.Lock()

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Recognise recordings, those of similar length together; `cancel` is heeded between steps."""
        check_request(self.info, batch, options)
        context = context_of(options.prompt, options.keywords)
        transcripts: dict[int, Transcript] = {}
        for group in self._groups(batch):
            with self._alone(cancel) as model:
                answers = model.transcribe(
                    [batch[index].samples for index in group],
                    self._meter,
                    context=context,
                    language=options.language,
                    check=lambda: _check(cancel),
                )
            for index, answer in zip(group, answers, strict=True):
                transcripts[index] = Transcript(answer.text, batch[index].duration_s, language=answer.language)
        return [transcripts[index] for index in range(len(batch))]

    def encoder_frames(self, batch: Sequence[Audio]) -> list[NDArray[np.float32]]:
        """Return what the decoder reads of recordings, `(tokens, width)` each, for who compares precisions."""
        check_request(self.info, batch, TranscribeOptions())
        frames = []
        for audio in batch:
            with self._alone(None) as model:
                (encoded,) = model.encode([audio.samples], self._meter)
                frames.append(encoded.cpu().numpy().astype(np.float32))
        return frames

    @property
    def stages(self) -> Meter:
        """Where the time of all calls so far went."""
        return self._meter

    def unload(self) -> None:
        """Free the model; a call under way ends after its batch."""
        with self._turn:
            if self._model is not None:
                self._model = None
                THREADS.give_back()

    @contextmanager
    def _alone(self, cancel: threading.Event | None) -> Iterator[Qwen3Asr]:
        """Wait for this call's turn, or for `cancel`; what goes wrong within torch is an EngineError."""
        self._loaded()
        _check(cancel)
        while not self._turn.acquire(timeout=_POLL_S):
            _check(cancel)
        try:
            THREADS.use()
            yield self._loaded()
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, EngineError | CancelledError):
                raise
            raise EngineError("recognition failed", error, "give shorter or fewer recordings at once") from error
        finally:
            self._turn.release()

    def _groups(self, batch: Sequence[Audio]) -> list[list[int]]:
        """Return recordings by similar length, as many together as the cache may hold."""
        model = self._loaded()
        order = sorted(range(len(batch)), key=lambda index: len(batch[index].samples))
        groups: list[list[int]] = []
        for index in order:
            rows = len(groups[-1]) + 1 if groups else MOST_ROWS + 1
            if rows > MOST_ROWS or rows * model.cache_bytes(len(batch[index].samples)) > CACHE_BYTES:
                groups.append([])
            groups[-1].append(index)
        return groups

    def _loaded(self) -> Qwen3Asr:
        model = self._model
        if model is None:
            raise EngineError("the recogniser was unloaded", None, "load it again")
        return model


def context_of(prompt: str | None, keywords: Sequence[str]) -> str:
    """Return what words are biased towards, as the model takes it: a text, and words after it."""
    return "\n".join(part for part in (prompt or "", ", ".join(keywords)) if part)


def _check(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise CancelledError("the work was cancelled")
