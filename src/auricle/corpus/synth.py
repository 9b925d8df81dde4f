"""Corpora spoken by machine: given or built-in texts in several voices and speeds, with noise at a stated SNR.

The same arguments and the same synthesiser give the same bytes. Voices take the texts in turn; rates change after each
round of voices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from auricle.audio import Audio, save
from auricle.corpus import espeak, flite
from auricle.corpus.manifest import read_manifest, write_manifest
from auricle.corpus.noise import NoiseColour, make_noise, mix
from auricle.corpus.sentences import sentences
from auricle.corpus.storage import new_folder
from auricle.corpus.types import MANIFEST_NAME, Corpus, Utterance
from auricle.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auricle.corpus.types import Progress
    from auricle.transcript import Word

Backend = Literal["flite", "espeak-ng"]
SLOWEST, FASTEST = 0.5, 2.5


def synthesise(
    texts: Sequence[str] | None,
    destination: Path,
    *,
    backend: Backend = "flite",
    language: str = "en",
    voices: Sequence[str] = (),
    rates: Sequence[float] = (1.0,),
    snr_db: float | None = None,
    noise: NoiseColour = "white",
    seed: int = 0,
    progress: Progress | None = None,
) -> Corpus:
    """Speak texts, or the built-in ones for None, into a new folder of 16 kHz FLAC files with a manifest.

    `voices` are the backend's, by default four of the language; a rate of 2.0 is twice the voice's own speed. With
    `snr_db`, noise drawn from `seed` is added (see `noise.mix`). Flite gives word times, eSpeak NG does not. `progress`
    is told the texts done and their number.

    Raises UsageError for malformed arguments, UnsupportedError for an unknown voice or language, NotInstalledError
    without the synthesiser, CorpusError for a text that cannot be spoken or a folder that is not empty.
    """
    _check_arguments(backend, texts, rates, snr_db, seed)
    lines = [" ".join(text.split()) for text in (sentences(language) if texts is None else texts)]
    speakers = _speakers(backend, language, voices)
    with new_folder(destination) as folder:
        utterances = []
        for number, line in enumerate(lines):
            voice = speakers[number % len(speakers)]
            rate = rates[number // len(speakers) % len(rates)]
            audio, words = _speak(backend, line, voice, rate)
            if snr_db is not None:
                added = make_noise(noise, len(audio.samples), np.random.default_rng([seed, number]))
                audio = Audio(mix(audio.samples, added, snr_db, audio.rate), audio.rate)
            path = folder / "audio" / f"{backend}-{number:04d}-{voice}.flac"
            save(audio, path)
            utterances.append(Utterance(path.stem, path, line, language, voice, audio.duration_s, words=words))
            if progress:
                progress(number + 1, len(lines))
        write_manifest(Corpus(destination.name, tuple(utterances), None, backend, folder), folder / MANIFEST_NAME)
    return read_manifest(destination / MANIFEST_NAME).corpus


def _check_arguments(
    backend: str, texts: Sequence[str] | None, rates: Sequence[float], snr_db: float | None, seed: int
) -> None:
    if backend not in get_args(Backend):
        raise UsageError("no such speech synthesiser", backend, f"one of {', '.join(get_args(Backend))}")
    if texts is not None and not texts:
        raise UsageError("no texts to speak", None, "give at least one")
    if not rates or not all(SLOWEST <= rate <= FASTEST for rate in rates):
        raise UsageError("speaking rate out of range", list(rates), f"{SLOWEST} to {FASTEST}; 1.0 is the normal one")
    if snr_db is not None and not np.isfinite(snr_db):
        raise UsageError("signal-to-noise ratio is not a number of decibels", snr_db, "give one such as 10")
    if seed < 0:
        raise UsageError("seed is negative", seed, "give 0 or more")


def _speakers(backend: Backend, language: str, voices: Sequence[str]) -> tuple[str, ...]:
    if backend == "espeak-ng":
        return tuple(voices) or espeak.voices(language)
    installed = flite.voices(language)
    # Flite itself speaks with some other voice when it does not know the one asked for.
    if unknown := set(voices) - set(installed):
        raise UnsupportedError("Flite has no such voice", ", ".join(sorted(unknown)), f"one of {', '.join(installed)}")
    return tuple(voices) or installed


def _speak(backend: Backend, text: str, voice: str, rate: float) -> tuple[Audio, tuple[Word, ...]]:
    if backend == "espeak-ng":
        return espeak.speak(text, voice, rate), ()
    return flite.speak(text, voice, rate)
