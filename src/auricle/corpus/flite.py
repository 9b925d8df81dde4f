"""Speech by CMU Flite's program `flite`: four general English voices, and word times from its own phone durations."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.audio import load
from auricle.errors import CorpusError, NotInstalledError, UnsupportedError
from auricle.transcript import Word

if TYPE_CHECKING:
    from auricle.audio import Audio

VOICES = ("kal16", "awb", "rms", "slt")
_REMEDY = "install Flite, on Debian and Ubuntu with `apt install flite`, or use the backend espeak-ng"
_PAUSE = "pau"
_SHARE_OF_LIKE_PHONES = 0.8


def voices(language: str) -> tuple[str, ...]:
    """Return Flite's general voices that are installed.

    Raises NotInstalledError without Flite, UnsupportedError for other languages than English.
    """
    if language.partition("-")[0] != "en":
        raise UnsupportedError("Flite's voices speak English only", language, "use the backend espeak-ng")
    listed = _run("-lv").partition(":")[2].split()
    installed = tuple(voice for voice in VOICES if voice in listed)
    if not installed:
        raise NotInstalledError("this Flite has none of its general voices", ", ".join(listed), _REMEDY)
    return installed


def speak(text: str, voice: str, rate: float) -> tuple[Audio, tuple[Word, ...]]:
    """Speak an English text at 16 kHz; `rate` 2.0 is twice as fast as the voice's own speed.

    Words are those of the text between white space, and empty when Flite's phones cannot be divided between them.
    Raises CorpusError for a text that Flite would not read whole, NotInstalledError without Flite.
    """
    if not text.isascii() or not any(map(str.isalnum, text)):
        raise CorpusError("Flite reads English in ASCII letters only", text, "spell it in plain English words")
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder) / "speech.wav"
        stretch = ("--setf", f"duration_stretch={1 / rate:.6f}")
        phones = _run("-voice", voice, *stretch, "-psdur", "-t", text, "-o", str(wave))
        audio = load(wave)
    return audio, _words(text, voice, [(phone, float(end)) for phone, end in (p.split(":") for p in phones.split())])


def _words(text: str, voice: str, phones: list[tuple[str, float]]) -> tuple[Word, ...]:
    """Divide the phones (name, end in seconds) between the words by how many phones each word has when spoken alone."""
    words = text.split()
    alone = _run("-voice", voice, "-ps", "-t", ". ".join(word.rstrip(".") for word in words) + ".", "none").split()
    groups = [group.split() for group in f" {' '.join(alone)} ".split(f" {_PAUSE} ") if group.strip()]
    spoken = [
        (phone, start, end)
        for (phone, end), start in zip(phones, [0.0, *(end for _, end in phones)], strict=False)
        if phone != _PAUSE
    ]
    expected = [phone for group in groups for phone in group]
    alike = sum(one == other[0] for one, other in zip(expected, spoken, strict=False))
    if len(groups) != len(words) or len(expected) != len(spoken) or alike < _SHARE_OF_LIKE_PHONES * len(spoken):
        return ()
    timed, first = [], 0
    for word, group in zip(words, groups, strict=True):
        last = first + len(group) - 1
        timed.append(Word(word, spoken[first][1], spoken[last][2]))
        first = last + 1
    return tuple(timed)


def _run(*arguments: str) -> str:
    program = shutil.which("flite")
    if program is None:
        raise NotInstalledError("the program flite is not installed", None, _REMEDY)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CorpusError("flite failed", f"status {done.returncode}", done.stderr.strip() or _REMEDY)
    return done.stdout
