"""A scheduler in simulated time, and a detector of voice that hears how loud a window is."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from auricle.engines.contract import Feed, StreamOptions
from auricle.live.admission import Admission, AdmissionRules
from auricle.live.endpoint import EndpointRules
from auricle.live.events import Final, Partial
from auricle.live.scheduler import Scheduler, StepReport
from auricle.live.stream import LiveStream, make_stream
from tests.live.fakes import RATE, FakeRecognizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from auricle.live.buffer import Mark
    from auricle.live.events import Event

NEVER = EndpointRules(None, None, None)
CHUNK = 100
STEP_FIXED_S = 0.004
STEP_EACH_S = 0.001
WINDOW_COST_S = 0.0005
LOUDNESS = {"s": 1.0, "m": 0.4}


class LoudnessDetector:
    """Calls a window of 10 ms as likely speech as it is loud, however it came; tells `work` how many it has judged."""

    rate = RATE
    window = 10

    def __init__(self, work: Callable[[int], None]) -> None:
        self._work = work

    def start(self) -> list[float]:
        return []

    def hear(self, fed: Sequence[tuple[list[float], NDArray[np.float32]]]) -> list[list[float]]:
        answer = []
        for state, samples in fed:
            state.extend(samples.tolist())
            whole = len(state) - len(state) % self.window
            answer.append([max(map(abs, state[at : at + self.window])) for at in range(0, whole, self.window)])
            del state[:whole]
        self._work(sum(map(len, answer)))
        return answer


@dataclass
class World:
    """A scheduler in simulated time: a step takes 4 ms and 1 ms for every stream in it."""

    rules: AdmissionRules = field(default_factory=lambda: AdmissionRules(max_duty=None))
    slots: int = 1000
    max_block: int = 64
    now_s: float = 0.0
    kind: type[FakeRecognizer] = FakeRecognizer
    first_short: int = 0

    def __post_init__(self) -> None:
        self.blocks: list[list[Feed]] = []
        self.reports: list[StepReport] = []
        self.recognizer = self.kind(self.slots, self._work, first_short=self.first_short, block=self.max_block)
        self.admission = Admission(self.rules, 0.02, self.slots)
        self.scheduler = Scheduler(
            self.recognizer,
            self.admission,
            lambda: self.now_s,
            self.reports.append,
            lambda: self.detector,
        )
        self.detector = LoudnessDetector(self._judge)
        self.heard: dict[LiveStream, list[Event]] = {}

    def _work(self, feeds: list[Feed]) -> None:
        self.blocks.append(feeds)
        self.now_s += STEP_FIXED_S + STEP_EACH_S * len(feeds)

    def _judge(self, windows: int) -> None:
        self.now_s += WINDOW_COST_S * windows

    def open(self, chunk_ms: int | None = None, rules: EndpointRules = NEVER) -> LiveStream:
        stream = make_stream(self.recognizer, StreamOptions(chunk_ms), rules)
        self.scheduler.add(stream)
        self.heard[stream] = []
        return stream

    def say(self, stream: LiveStream, samples: int, value: float = 1.0) -> None:
        if stream.buffer.append(np.full(samples, value, np.float32), self.now_s):
            self.scheduler.notify(stream)

    def mark(self, stream: LiveStream, mark: Mark) -> None:
        if stream.buffer.mark(mark, self.now_s):
            self.scheduler.notify(stream)

    def run(self) -> None:
        while self.scheduler.has_work:
            for stream, event in chain.from_iterable(self.scheduler.tick()):
                self.heard[stream].append(event)

    def play(self, stream: LiveStream, script: str) -> None:
        """Say `script`, a letter for each 0.1 s: `s` is speech, `m` a murmur, else silence; run after each."""
        for letter in script:
            self.say(stream, CHUNK, LOUDNESS.get(letter, 0.0))
            self.run()

    def texts(self, stream: LiveStream) -> list[str]:
        return [event.text for event in self.heard[stream] if isinstance(event, Partial | Final)]

    def finals(self, stream: LiveStream) -> list[Final]:
        return [event for event in self.heard[stream] if isinstance(event, Final)]
