"""Where an utterance ends: after silence of voice, or by the recogniser's own account, or when it grows too long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Endpointing = Literal["voice", "words", "both"]


@dataclass(frozen=True, slots=True)
class VoiceRules:
    """When voice starts and stops, in seconds of audio, counted in windows of the detector (32 ms), rounded up.

    It starts with a window of at least `threshold` when the windows of `speech_s` stay near it, and stops with the
    first window well below it when none reaches it again within `silence_s`. An utterance that holds voice ends after
    that silence when `ends_utterance`; without, starts and stops are told and nothing ends. Less silence than 0.1 s
    counts as that: the detector may leave out so much of the end of a word.
    """

    threshold: float = 0.5
    speech_s: float = 0.1
    silence_s: float = 0.5
    ends_utterance: bool = True


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """When an utterance ends by itself, in seconds of audio.

    `silence_s` after the last change of a text that has words, `initial_s` when it has none, `longest_s` in any case,
    and by `voice`; None turns a rule off, and only a stream with rules of voice pays for a detector. The defaults are
    those of sherpa-onnx's server.
    """

    silence_s: float | None = 1.2
    initial_s: float | None = 2.4
    longest_s: float | None = 20.0
    voice: VoiceRules | None = None


def endpoint_rules(by: Endpointing) -> EndpointRules:
    """Return the rules for endpoints by silence of voice, of words, or of whichever comes first."""
    voice = None if by == "words" else VoiceRules()
    return EndpointRules(None, None, voice=voice) if by == "voice" else EndpointRules(voice=voice)


class Endpointer:
    """Follows one stream; all times are seconds of its audio."""

    def __init__(self, rules: EndpointRules) -> None:
        self.rules = rules
        self._start_s = 0.0
        self._changed_s = 0.0
        self._text = ""

    def update(self, text: str, audio_s: float) -> bool:
        """Take a partial that covers the audio up to `audio_s` and tell whether the utterance ends there."""
        if text != self._text:
            self._text, self._changed_s = text, audio_s
        rules = self.rules
        quiet = rules.silence_s if text else rules.initial_s
        if quiet is not None and audio_s - max(self._changed_s, self._start_s) >= quiet:
            return True
        return rules.longest_s is not None and audio_s - self._start_s >= rules.longest_s

    def restart(self, audio_s: float) -> None:
        """Begin a new utterance at `audio_s`."""
        self._start_s = self._changed_s = audio_s
        self._text = ""
