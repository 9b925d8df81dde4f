"""Spoken digits to train on: recordings of single digits by people, and words and strings by machine voices.

python -m tools.training.speech --digits FOLDER --pool FILE

All of it becomes pieces at 16 kHz, as loud as each other, in one file.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from auricle.audio import SAMPLE_RATE, load
from auricle.corpus import espeak, flite
from auricle.corpus.noise import speech_active
from tools.training.pool import Piece, save
from tools.training.strings import PIECE_LEVEL, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from auricle.audio import Audio

    Samples = NDArray[np.float32]

# People's takes: the first are for tests, as is the custom with this set, the next for looking at while working.
TEST_TAKES, WORK_TAKES = range(5), range(5, 7)
_MACHINE_TEMPOS = (0.7, 1.5)
_ACCENTS = (
    "en", "en-us", "en-us-nyc", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029",
)  # fmt: skip
_VARIANTS = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "klatt2", "klatt4", "adam", "david",
    "edward", "ian", "john", "linda", "steph", "travis", "victor", "aunty", "grandpa", "belinda", "robert",
)  # fmt: skip
# English digits as they are written for voices of other languages.
_FOREIGN = {
    "de": "siro wann tuh sri for feif sicks sewen eht nein",
    "nl": "ziro wan toe srie foor faif siks seven eet nain",
    "fr": "ziro ouane tou sri fore faïve sixe sèvène éïte naïne",
    "it": "ziro uan tu tri for faiv sics seven eit nain",
    "es": "siro uan tu zri for faiv sics seven eit nain",
    "pt": "ziro uân tu tri fór faiv sics séven eit nain",
    "pl": "ziro łan tu tri for fajw siks sewen ejt najn",
    "ru": "зироу уан ту сри фор файв сикс сэвен эйт найн",
    "hi": "ज़ीरो वन टू थ्री फ़ोर फ़ाइव सिक्स सेवन एट नाइन",
    "fi": "siirou uan tuu trii foor faiv siks seven eit nain",
    "tr": "ziro van tu tri for fayv siks seven eyt nayn",
    "el": "ζίρο ουάν του θρι φορ φάιβ σιξ σέβεν έιτ νάιν",
}
_FOREIGN_VARIANTS = ("m3", "f2")
_FLITE_STRINGS, _ESPEAK_STRINGS, _FOREIGN_STRINGS = 50, 14, 4
_LONGEST_STRING = 7
_MARGIN_S = 0.03
_SEED = 2
# The rounding is 50 dB below the speech, fainter than the faintest noise it is mixed with.
_BITS = 11


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


def human(chosen: Sequence[Recording]) -> Iterator[Piece]:
    """Give recordings as pieces."""
    for one in chosen:
        yield Piece(_levelled(load(one.path, SAMPLE_RATE).samples), WORDS[one.word], one.speaker, "human")


def machines() -> Iterator[Piece]:
    """Speak every word and random strings with Flite's voices, and with accents and voices of eSpeak NG."""
    rng = np.random.default_rng(_SEED)
    for voice in flite.VOICES:
        for _ in range(2):
            yield from _spoken(lambda *said: flite.speak(*said)[0], voice, "flite", WORDS, _FLITE_STRINGS // 2, rng)
    for index, variant in enumerate(_VARIANTS):
        voice = f"{_ACCENTS[index % len(_ACCENTS)]}+{variant}"
        yield from _spoken(espeak.speak, voice, "espeak", WORDS, _ESPEAK_STRINGS, rng)
    for language, spelling in _FOREIGN.items():
        for variant in _FOREIGN_VARIANTS:
            voice = f"{language}+{variant}"
            yield from _spoken(espeak.speak, voice, "espeak", spelling.split(), _FOREIGN_STRINGS, rng)


def _spoken(
    speak: Callable[[str, str, float], Audio],
    voice: str,
    kind: str,
    spelling: Sequence[str],
    strings: int,
    rng: np.random.Generator,
) -> Iterator[Piece]:
    """Say all words, each as it is spelt, and so many strings, at many a pace."""
    texts = [(word,) for word in range(len(WORDS))]
    lengths = (int(rng.integers(2, _LONGEST_STRING + 1)) for _ in range(strings))
    texts += [tuple(rng.integers(len(WORDS), size=length).tolist()) for length in lengths]
    for words in texts:
        spelt, text = (" ".join(names[word] for word in words) for names in (spelling, WORDS))
        audio = speak(spelt, voice, float(rng.uniform(*_MACHINE_TEMPOS)))
        yield Piece(_levelled(_trimmed(audio.samples)), text, voice, kind)


def taught(found: Sequence[Recording]) -> list[Recording]:
    """Return what may be trained on: neither the unheard speaker's nor the takes that are held out."""
    held = {*TEST_TAKES, *WORK_TAKES}
    return [one for one in found if one.speaker != unheard(found) and one.take not in held]


def _levelled(samples: Samples) -> Samples:
    active = samples[speech_active(samples, SAMPLE_RATE)].astype(np.float64)
    return np.asarray(samples * (PIECE_LEVEL / np.sqrt(np.mean(active**2))), np.float32)


def _trimmed(samples: Samples) -> Samples:
    """Cut the silence before and after speech, but for a margin."""
    active = np.flatnonzero(speech_active(samples, SAMPLE_RATE))
    margin = round(_MARGIN_S * SAMPLE_RATE)
    return samples[max(active[0] - margin, 0) : active[-1] + margin]


def main() -> None:
    """Write the pool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", type=Path, required=True, help="folder of the recorded digits, with its manifest")
    parser.add_argument("--pool", type=Path, required=True, help="the `.npz` file to write")
    arguments = parser.parse_args()
    save([*human(taught(recordings(arguments.digits))), *machines()], arguments.pool, _BITS)


if __name__ == "__main__":
    main()
