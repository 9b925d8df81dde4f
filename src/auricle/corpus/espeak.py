"""Speech by eSpeak NG, from the wheel `espeakng-loader`: more than a hundred languages, each in many voices.

The library keeps state from one text to the next and is not thread-safe, so a child process speaks each text.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.audio import load
from auricle.corpus import espeak_child
from auricle.errors import CorpusError, NotInstalledError, UnsupportedError

if TYPE_CHECKING:
    from auricle.audio import Audio

VARIANTS = ("", "+f2", "+m3", "+f4")
NORMAL_WORDS_PER_MINUTE = 175
_SHORTEST_SPEECH_S = 0.05


def voices(language: str) -> tuple[str, ...]:
    """Return four voices of a language: a male and a female pair of eSpeak's variants of its one voice."""
    return tuple(f"{language}{variant}" for variant in VARIANTS)


def speak(text: str, voice: str, rate: float) -> Audio:
    """Speak a text at 16 kHz with a voice such as `hi` or `en-us+f2`; `rate` 2.0 is twice 175 words a minute.

    Raises NotInstalledError without the wheel, UnsupportedError for an unknown voice, CorpusError when nothing is said.
    """
    library, data = _installation()
    _, _, variant = voice.partition("+")
    variants = data / "voices" / "!v"
    if variant and variant not in {path.name for path in variants.iterdir()}:
        raise UnsupportedError("eSpeak NG has no such variant", voice, f"name a file of {variants}")
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder) / "speech.wav"
        pace = str(round(NORMAL_WORDS_PER_MINUTE * rate))
        command = [sys.executable, "-I", espeak_child.__file__, str(library), str(data), voice, pace, str(wave)]
        done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
        if done.returncode == espeak_child.UNKNOWN_VOICE:
            raise UnsupportedError("eSpeak NG has no such voice", voice, "name one of its languages, such as en or hi")
        if done.returncode != 0:
            raise CorpusError("eSpeak NG failed", f"status {done.returncode}", done.stderr.decode(errors="replace"))
        audio = load(wave)
    if audio.duration_s < _SHORTEST_SPEECH_S:
        raise CorpusError("eSpeak NG says nothing for this text", repr(text), "give words in the voice's language")
    return audio


def _installation() -> tuple[Path, Path]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise NotInstalledError("espeakng-loader is not installed", None, 'pip install "auricle[synth]"') from error
    return Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
