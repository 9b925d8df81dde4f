"""Recordings whose words a small server can read off the samples: each word is a stretch of one constant value.

The value survives resampling, so the words and their times are known in any dialect and in any concatenation, from the
audio alone; a sample lost, doubled or moved changes them.
"""

from __future__ import annotations

import json
import random
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 16_000
FRAME_S = 0.01
FEWEST_FRAMES = 3
LEVEL_STEP = 0.02
SILENCE = -1
VOCABULARY = [
    "apple", "bread", "candle", "dinner", "engine", "flower", "garden", "hammer", "island", "jungle",
    "kettle", "ladder", "market", "needle", "office", "pepper", "rabbit", "saddle", "table", "under",
    "valley", "window", "yellow", "autumn", "basket", "copper", "desert", "eagle", "forest", "guitar",
]  # fmt: skip
# Letters that no word has: a wrong word shares no character with what it stands for, so that CER is known as well.
WRONG = "zxq"


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the vocabulary and when it is spoken, in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Shape:
    """How an utterance is built, in seconds; all are whole frames."""

    words: int = 8
    lead_s: float = 0.5
    word_s: float = 0.2
    gap_s: float = 0.1
    tail_s: float = 0.3

    @property
    def duration_s(self) -> float:
        """Length of the recording."""
        return self.lead_s + self.words * (self.word_s + self.gap_s) - self.gap_s + self.tail_s


DEFAULT = Shape()


class Ear:
    """Reads words off samples as they come."""

    def __init__(self, rate: int) -> None:
        self._frame = round(rate * FRAME_S)
        self._rest: NDArray[np.float32] = np.zeros(0, np.float32)
        self._frames = 0
        self._word = SILENCE
        self._since = 0

    @property
    def silent(self) -> bool:
        """Whether no word was being spoken in the last whole frame."""
        return self._word == SILENCE

    def feed(self, samples: NDArray[np.float32]) -> list[Word]:
        """Return the words that have ended within what was heard."""
        self._rest = np.concatenate([self._rest, samples])
        whole = len(self._rest) // self._frame * self._frame
        frames, self._rest = self._rest[:whole].reshape(-1, self._frame), self._rest[whole:]
        words = []
        for number in np.round(np.median(frames, axis=1) / LEVEL_STEP).astype(int) - 1:
            if number != self._word:
                if self._word != SILENCE and self._frames - self._since >= FEWEST_FRAMES:
                    words.append(Word(VOCABULARY[self._word], self._since * FRAME_S, self._frames * FRAME_S))
                self._word, self._since = int(number), self._frames
            self._frames += 1
        return words


def wrong(word: str) -> str:
    """Return as many letters as the word has, none of which occurs in the vocabulary."""
    return (WRONG * len(word))[: len(word)]


def speak(words: list[str], shape: Shape) -> tuple[NDArray[np.float32], list[Word]]:
    """Return samples of shape `(samples,)` at `RATE` and the words with their times."""
    samples = np.zeros(round(shape.duration_s * RATE), np.float32)
    timed = []
    for place, word in enumerate(words):
        start_s = round(shape.lead_s + place * (shape.word_s + shape.gap_s), 6)
        end_s = round(start_s + shape.word_s, 6)
        samples[round(start_s * RATE) : round(end_s * RATE)] = LEVEL_STEP * (VOCABULARY.index(word) + 1)
        timed.append(Word(word, start_s, end_s))
    return samples, timed


def make_corpus(folder: Path, utterances: int, shape: Shape = DEFAULT, speakers: int = 0, seed: int = 0) -> Path:
    """Write recordings with a manifest that times every word, and return the manifest; 0 speakers: one for each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    lines = []
    for number in range(utterances):
        samples, words = speak(rng.sample(VOCABULARY, shape.words), shape)
        path = folder / f"u{number:03d}.wav"
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(RATE)
            out.writeframes(np.round(samples * 32768).astype("<i2").tobytes())
        row = {
            "id": path.stem,
            "audio": path.name,
            "text": " ".join(word.text for word in words),
            "language": "en",
            "speaker": f"s{number % (speakers or utterances)}",
            "words": [{"word": word.text, "start": word.start_s, "end": word.end_s} for word in words],
        }
        lines.append(json.dumps(row))
    manifest = folder / "manifest.jsonl"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest
