"""Where an utterance ends: after silence by the recogniser's own account, or when it grows too long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """When an utterance ends by itself, in seconds of audio.

    `silence_s` after the last change of a text that has words, `initial_s` when it has none, `longest_s` in any case;
    None turns a rule off. The defaults are those of sherpa-onnx's server.
    """

    silence_s: float | None = 1.2
    initial_s: float | None = 2.4
    longest_s: float | None = 20.0


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
