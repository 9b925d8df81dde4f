"""Voice in live streams: starts and stops at exact samples, however the audio was cut on its way here.

The detector judges windows that are counted from the start of the stream, so a decision depends on the samples alone,
and so does the place where silence ends an utterance: at the end of the window that made it long enough.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from auricle.live.events import SpeechStarted, SpeechStopped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.live.endpoint import VoiceRules
    from auricle.live.events import Speech

HYSTERESIS = 0.15
LEAST_THRESHOLD = 0.01
LEAST_SILENCE_S = 0.1
RESAMPLER_HOLDS_S = 0.005
"""A converter of rates holds back less than this, so a decision is known at the latest so long after its window."""


class Detector(Protocol):
    """Judges windows of `window` samples at `rate` Hz for many streams at once; keeps the state that it is given."""

    @property
    def rate(self) -> int:
        """Samples per second."""
        ...

    @property
    def window(self) -> int:
        """Samples in a window."""
        ...

    def start(self) -> Any:
        """Return the state of a new stream."""
        ...

    def hear(self, fed: Sequence[tuple[Any, NDArray[np.float32]]]) -> Sequence[Iterable[float]]:
        """Return for each stream the probabilities of the windows that are whole now."""
        ...


@dataclass(frozen=True, slots=True)
class _Turn:
    """Voice started or stopped; known when the stream is at sample `at`. `voiced` is where the voice was last heard."""

    event: Speech
    at: int
    voiced: int


class Voice:
    """Follows the voice of one stream of `rate` Hz; `heard` counts the samples it was given."""

    def __init__(self, rules: VoiceRules, rate: int, detector: Detector) -> None:
        self.rules = rules
        self.heard = 0
        self.speaking = False
        self.state = detector.start()
        self._rate = rate
        self._window = Fraction(detector.window, detector.rate)
        self._wanted_s = {False: rules.speech_s, True: max(rules.silence_s, LEAST_SILENCE_S)}
        self._hold = 0
        self._resampler = None
        if rate != detector.rate:
            from auricle.audio.resample import Resampler

            self._resampler = Resampler(rate, detector.rate)
            self._hold = math.ceil(RESAMPLER_HOLDS_S * rate)
        self._quiet = max(rules.threshold - HYSTERESIS, LEAST_THRESHOLD)
        self._windows = 0
        self._since: int | None = None
        self._turns: deque[_Turn] = deque()

    def converted(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples of the stream and return those at the detector's rate that are ready."""
        self.heard += len(samples)
        return samples if self._resampler is None else self._resampler.feed(samples)

    def judge(self, probabilities: Iterable[float]) -> None:
        """Take the probabilities of the next windows."""
        for probability in probabilities:
            self._windows += 1
            is_voice, is_silence = probability >= self.rules.threshold, probability < self._quiet
            turns, stays = (is_silence, is_voice) if self.speaking else (is_voice, is_silence)
            if stays:
                self._since = None
            elif turns and self._since is None:
                self._since = self._windows - 1
            if self._since is not None and self._s(self._windows - self._since) >= self._wanted_s[self.speaking]:
                self._turn(self._since)

    def cut(self, utterance_start: int, end: int) -> int | None:
        """Return the sample, at most `end`, at which silence ends the utterance that began at `utterance_start`."""
        for turn in self._turns:
            if turn.at > end:
                return None
            ends = self.rules.ends_utterance and isinstance(turn.event, SpeechStopped)
            if ends and turn.voiced > utterance_start:
                return turn.at
        return None

    def told(self, consumed: int) -> list[Speech]:
        """Return the starts and stops that are known when `consumed` samples have been recognised, each once."""
        events = []
        while self._turns and self._turns[0].at <= consumed:
            events.append(self._turns.popleft().event)
        return events

    def finish(self) -> list[Speech]:
        """Return what is left to tell at the end of the stream: voice that goes on stops there, or at its silence."""
        events = [turn.event for turn in self._turns]
        if self.speaking:
            end_s = self.heard / self._rate if self._since is None else self._s(self._since)
            events.append(SpeechStopped(end_s))
        self._turns.clear()
        self.speaking = False
        return events

    def _turn(self, since: int) -> None:
        self.speaking, self._since = not self.speaking, None
        event = SpeechStarted(self._s(since)) if self.speaking else SpeechStopped(self._s(since))
        at = math.ceil(self._windows * self._window * self._rate) + self._hold
        self._turns.append(_Turn(event, at, math.ceil(since * self._window * self._rate)))

    def _s(self, windows: int) -> float:
        """Return how long so many windows are."""
        return float(windows * self._window)


def listen(detector: Detector, fed: Sequence[tuple[Voice, NDArray[np.float32]]]) -> None:
    """Let the detector judge the next samples of some streams."""
    ready = [(voice, voice.converted(samples)) for voice, samples in fed]
    heard = detector.hear([(voice.state, samples) for voice, samples in ready])
    for (voice, _), probabilities in zip(ready, heard, strict=True):
        voice.judge(probabilities)
