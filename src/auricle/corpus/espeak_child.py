"""The child process that speaks one text with eSpeak NG: standard input is the text, the last argument a WAV file.

`espeak.py` runs it as a script with `-I`, so that nothing but the standard library can be imported. Its arguments:
library, data, voice, words a minute, file.
"""

from __future__ import annotations

import ctypes
import sys
import wave

UNKNOWN_VOICE = 3
_OUTPUT_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000
_RATE_PARAMETER = 1
_CHARACTERS_UTF8 = 1
_SEED = 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def main(library: str, data: str, voice: str, words_per_minute: str, output: str) -> int:
    """Speak the text of standard input into a mono 16-bit WAV file and return the exit status."""
    espeak = ctypes.CDLL(library)
    rate = espeak.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, data.encode(), _DO_NOT_EXIT)
    if rate <= 0:
        return 1
    samples = bytearray()

    def collect(block: int | None, count: int, _events: int | None) -> int:
        if block:
            samples.extend(ctypes.string_at(block, 2 * count))
        return 0

    callback = _CALLBACK(collect)
    espeak.espeak_SetSynthCallback(callback)
    if espeak.espeak_SetVoiceByName(voice.encode()) != 0:
        return UNKNOWN_VOICE
    espeak.espeak_ng_SetRandSeed(_SEED)
    espeak.espeak_SetParameter(_RATE_PARAMETER, int(words_per_minute), 0)
    text = sys.stdin.buffer.read()
    if espeak.espeak_Synth(text, len(text) + 1, 0, 1, 0, _CHARACTERS_UTF8, None, None) != 0:
        return 1
    with wave.open(output, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
