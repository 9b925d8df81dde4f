"""Spoken digits to train on: recordings of single digits by people, and words and strings by machine voices.

All of it becomes pieces at 16 kHz, as loud as each other; the pool is kept in a file, since voices take minutes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from auricle.audio import SAMPLE_RATE, load
from auricle.corpus import espeak, flite
from auricle.corpus.noise import speech_active
from auricle.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from auricle.audio import Audio

    Samples = NDArray[np.float32]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# People's takes: the first are for tests, as is the custom with this set, the next for looking at while working.
TEST_TAKES, WORK_TAKES = range(5), range(5, 7)
PIECE_LEVEL = 0.1
_TEMPOS = (0.75, 1.0, 1.3)
_MACHINE_TEMPOS = (0.7, 1.5)
_ACCENTS = (
    "en", "en-us", "en-us-nyc", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029",
)  # fmt: skip
_VARIANTS = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "klatt2", "klatt4", "adam", "david",
    "edward", "ian", "john", "linda", "steph", "travis", "victor", "aunty", "grandpa", "belinda", "robert",
)  # fmt: skip
_FLITE_STRINGS, _ESPEAK_STRINGS = 50, 14
_LONGEST_STRING = 7
_MARGIN_S = 0.03
_SEED = 2
_FULL_SCALE = np.float32(32767)


class Piece(NamedTuple):
    """What one voice says: samples `(samples,)` at 16 kHz of `PIECE_LEVEL` root mean square, and indices of words."""

    samples: Samples
    words: tuple[int, ...]
    voice: str
    is_human: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """One digit by one person: `take` counts that person's recordings of the digit."""

    path: Path
    word: int
    speaker: str
    take: int


def recordings(folder: Path) -> list[Recording]:
    """Return what a folder of digits holds, by its manifest: `audio`, `text`, `speaker` and `take` in JSON lines."""
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    return [Recording(folder / row["audio"], WORDS.index(row["text"]), row["speaker"], row["take"]) for row in rows]


def unheard(found: Sequence[Recording]) -> str:
    """Return the speaker who is never trained on: the last by name."""
    return max(recording.speaker for recording in found)


def human(chosen: Sequence[Recording], tempos: Sequence[float] = (1.0,)) -> Iterator[Piece]:
    """Give recordings as pieces, each in every tempo at its own pitch."""
    for one in chosen:
        samples = load(one.path, SAMPLE_RATE).samples
        for tempo in tempos:
            yield Piece(_levelled(stretched(samples, tempo)), (one.word,), one.speaker, is_human=True)


def machines() -> Iterator[Piece]:
    """Speak every word and random strings with Flite's voices, and with accents and voices of eSpeak NG."""
    rng = np.random.default_rng(_SEED)
    for voice in flite.VOICES:
        yield from _spoken(lambda *said: flite.speak(*said)[0], voice, 2, _FLITE_STRINGS, rng)
    for index, variant in enumerate(_VARIANTS):
        yield from _spoken(espeak.speak, f"{_ACCENTS[index % len(_ACCENTS)]}+{variant}", 1, _ESPEAK_STRINGS, rng)


def _spoken(
    speak: Callable[[str, str, float], Audio], voice: str, rounds: int, strings: int, rng: np.random.Generator
) -> Iterator[Piece]:
    """Say all words so many times, and so many strings, each at a pace of its own."""
    texts = [(word,) for word in range(len(WORDS))] * rounds
    lengths = (int(rng.integers(2, _LONGEST_STRING + 1)) for _ in range(strings))
    texts += [tuple(rng.integers(len(WORDS), size=length).tolist()) for length in lengths]
    for words in texts:
        audio = speak(" ".join(WORDS[word] for word in words), voice, float(rng.uniform(*_MACHINE_TEMPOS)))
        yield Piece(_levelled(_trimmed(audio.samples)), words, voice, is_human=False)


def taught(found: Sequence[Recording]) -> list[Recording]:
    """Return what may be trained on: neither the unheard speaker's nor the takes that are held out."""
    held = {*TEST_TAKES, *WORK_TAKES}
    return [one for one in found if one.speaker != unheard(found) and one.take not in held]


def pool(folder: Path, cache: Path) -> list[Piece]:
    """Return everything to train on, from the file `cache`, whose name ends with `.npz`, if it is there."""
    if not cache.is_file():
        _save([*human(taught(recordings(folder)), _TEMPOS), *machines()], cache)
    return _load(cache)


def _save(pieces: Sequence[Piece], cache: Path) -> None:
    facts = [(len(piece.samples), piece.words, piece.voice, piece.is_human) for piece in pieces]
    joined = np.concatenate([piece.samples for piece in pieces])
    samples = np.round(joined * _FULL_SCALE).clip(-_FULL_SCALE - 1, _FULL_SCALE).astype(np.int16)
    with atomic_path(cache) as temporary:
        np.savez(temporary, samples=samples, facts=np.array(json.dumps(facts)))


def _load(cache: Path) -> list[Piece]:
    with np.load(cache) as kept:
        samples, facts = kept["samples"], json.loads(str(kept["facts"]))
    ends = np.cumsum([length for length, *_ in facts])
    return [
        Piece(samples[end - length : end].astype(np.float32) / _FULL_SCALE, tuple(words), voice, is_human)
        for end, (length, words, voice, is_human) in zip(ends, facts, strict=True)
    ]


def _levelled(samples: Samples) -> Samples:
    active = samples[speech_active(samples, SAMPLE_RATE)].astype(np.float64)
    return np.asarray(samples * (PIECE_LEVEL / np.sqrt(np.mean(active**2))), np.float32)


def _trimmed(samples: Samples) -> Samples:
    """Cut the silence before and after speech, but for a margin."""
    active = np.flatnonzero(speech_active(samples, SAMPLE_RATE))
    margin = round(_MARGIN_S * SAMPLE_RATE)
    return samples[max(active[0] - margin, 0) : active[-1] + margin]


def stretched(samples: Samples, tempo: float, frame: int = 512, search: int = 128) -> Samples:
    """Say it `tempo` times as fast at the same pitch, by overlapping frames where they agree best (WSOLA)."""
    if tempo == 1.0 or len(samples) < 4 * frame:
        return samples
    half = frame // 2
    window = np.hanning(frame + 1)[:frame]
    padded = np.pad(samples.astype(np.float64), (half, 2 * frame + search))
    count = int(len(samples) / tempo / half)
    out = np.zeros((count + 1) * half + half)
    place = 0
    for index in range(count):
        if index:
            aim = int(index * half * tempo)
            wanted = padded[place + half : place + half + frame]
            first = max(aim - search, 0)
            around = padded[first : aim + search + frame]
            place = first + int(np.argmax(np.correlate(around, wanted, "valid")))
        out[index * half : index * half + frame] += window * padded[place : place + frame]
    return out[half:].astype(np.float32)
