"""Uploads made in memory, and recognisers that wait or fail when they are told to."""

from __future__ import annotations

import io
import threading
import wave
from typing import TYPE_CHECKING

import numpy as np

from auricle.engines.contract import ModelInfo
from auricle.errors import CancelledError
from auricle.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import TranscribeOptions

RATE = 16_000
WAIT_S = 60


def noise(seconds: float, seed: int = 1) -> NDArray[np.int16]:
    """Noise whose every half second differs, shape `(samples,)`."""
    return np.random.default_rng(seed).integers(-8000, 8000, round(seconds * RATE)).astype("<i2")


def wav(samples: NDArray[np.int16]) -> bytes:
    """The bytes of a mono WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())
    return file.getvalue()


class GatedRecognizer:
    """Says `done` for every recording, once `gate` is open; raises `failure` instead when there is one."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.info = ModelInfo(
            engine="gated",
            name="gated",
            family="gated",
            languages=("en",),
            sample_rate=RATE,
            device="cpu",
            precision="fp32",
        )
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.cancelled = threading.Event()
        self._failure = failure

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        self.entered.release()
        if self._failure is not None:
            raise self._failure
        while not self.gate.wait(0.01):
            if cancel is not None and cancel.is_set():
                self.cancelled.set()
                raise CancelledError("the work was cancelled")
        return [Transcript("done", audio.duration_s, language=options.language) for audio in batch]

    def unload(self) -> None:
        self.gate.set()
