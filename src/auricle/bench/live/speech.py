"""Where speech begins and ends in an utterance: by the corpus's word times, else by voice activity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auricle.vad import RATE, SPEECH_PROBABILITY, WINDOW_SAMPLES, speech_probabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.audio import Audio
    from auricle.corpus import Utterance

WINDOW_S = WINDOW_SAMPLES / RATE


@dataclass(frozen=True, slots=True)
class Timed:
    """An utterance and its first and last spoken sample, offsets in seconds; None where nothing tells them."""

    utterance: Utterance
    onset_s: float | None
    end_s: float | None
    timed_by: Literal["alignment", "vad"] | None


def locate(utterance: Utterance, audio: Audio) -> Timed:
    """Find the speech of an utterance; what the detector calls silent throughout has none."""
    if utterance.words:
        return Timed(utterance, utterance.words[0].start, utterance.words[-1].end, "alignment")
    limits = voiced(list(speech_probabilities(audio)))
    return Timed(utterance, None, None, None) if limits is None else Timed(utterance, *limits, "vad")


def voiced(probabilities: Sequence[float]) -> tuple[float, float] | None:
    """Return where the first window with speech begins and the last one ends, in seconds; None without any."""
    spoken = [index for index, probability in enumerate(probabilities) if probability > SPEECH_PROBABILITY]
    return (spoken[0] * WINDOW_S, (spoken[-1] + 1) * WINDOW_S) if spoken else None
