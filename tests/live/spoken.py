"""Speech at known places: utterances of the shipped corpus, trimmed to their words, with silence between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from auricle.audio.resample import Resampler
from auricle.corpus import open_corpus

Samples = NDArray[np.float32]
RATE = 16_000


@cache
def spoken(name: str) -> Samples:
    """Return an utterance of the demo corpus from the start of its first word to the end of its last."""
    (utterance,) = open_corpus("demo").select(ids=[name]).utterances
    start, end = utterance.words[0].start, utterance.words[-1].end
    return utterance.load().samples[round(start * RATE) : round(end * RATE)]


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.float32)


def pcm_of(samples: Samples, rate: int = RATE) -> NDArray[np.int16]:
    """Return the samples as 16-bit PCM at another rate."""
    resampler = Resampler(RATE, rate)
    converted = np.concatenate([resampler.feed(samples), resampler.finish()])
    return (converted * 32767).astype("<i2")


@dataclass(frozen=True)
class Planted:
    """Audio, and where speech was put into it, in seconds."""

    samples: Samples
    spans: list[tuple[float, float]]


def planted(*parts: str | float) -> Planted:
    """Join utterances, by name, and stretches of silence, in seconds."""
    samples, spans = silence(0), []
    for part in parts:
        new = spoken(part) if isinstance(part, str) else silence(part)
        if isinstance(part, str):
            spans.append((len(samples) / RATE, (len(samples) + len(new)) / RATE))
        samples = np.concatenate([samples, new])
    return Planted(samples, spans)
