"""Many live streams in real time on one engine: audio in host memory to tokens in host memory, at random phases."""

from __future__ import annotations

import gc
import random
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from auricle.fastconformer.streaming.streams import Fed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.device.streams import DeviceStreams
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.streaming.streams import Stream
    from auricle.fastconformer.tokens import Token

SHORTEST_S, LONGEST_S = 4.0, 24.0
RATE_HZ = 16_000
MOST_DUTY, MOST_AFTER_S = 0.8, 0.05
"""What holds: steps take less than this share of the time, and 95 in 100 chunks are told so soon after they end."""

PERCENTILES = (50, 95, 99, 100)


@dataclass(slots=True)
class Speaker:
    """One stream and the audio that comes to it: where it is in its recording, and what is left of its utterance."""

    stream: Stream
    audio: NDArray[np.float32]
    place: int
    left: int

    def next(self, rng: random.Random) -> Fed:
        """Return the next chunk; one that reaches the end of the utterance is its last."""
        wanted = self.stream.wanted
        count = min(wanted, self.left)
        if self.place + count > len(self.audio):
            self.place = 0
        samples = self.audio[self.place : self.place + count]
        self.place += count
        self.left -= count
        last = self.left == 0
        if last:
            self.left = int(rng.uniform(SHORTEST_S, LONGEST_S) * RATE_HZ)
        return Fed(self.stream, samples, last)


@dataclass(slots=True)
class Told:
    """What a run came to; times in milliseconds, at the 50th, 95th, 99th and 100th percentile."""

    streams: int
    chunk_ms: int
    lookahead_ms: float
    phases: int
    seconds: float
    duty: float
    step_ms: list[float]
    after_last_sample_ms: list[float]
    late_share: float
    tokens_per_s: float
    utterances: int
    graphed: int
    eager: int
    more: int
    holds: bool

    def row(self) -> dict[str, object]:
        """Return it as JSON takes it."""
        return asdict(self)


def run(
    streams: DeviceStreams, latency: LatencyClass, count: int, phases: int, seconds: float, audio: NDArray[np.float32]
) -> Told:
    """Serve `count` streams for so long in real time, in so many ticks to the chunk; `audio` is `(clips, samples)`.

    A stream belongs to the first tick after its chunk is whole. Time counts from then, so that waiting is in it.
    """
    rng = random.Random(count)
    period = latency.chunk_ms / 1000
    speakers: list[list[Speaker]] = [[] for _ in range(phases)]
    waits: list[list[float]] = [[] for _ in range(phases)]
    for number in range(count):
        clip = audio[number % len(audio)]
        speaker = Speaker(
            streams.open(latency),
            clip,
            rng.randrange(len(clip)),
            int(rng.uniform(0.5, LONGEST_S) * RATE_HZ),
        )
        phase = rng.randrange(phases)
        speakers[phase].append(speaker)
        waits[phase].append(rng.random() * period / phases)
    before = asdict(streams.runs)
    pace = _Pace(streams, rng)
    gc.collect()
    gc.freeze()
    start = time.perf_counter() + period
    for tick in range(int(seconds / period * phases)):
        phase = tick % phases
        pace.tick(speakers[phase], np.array(waits[phase]), start + tick * period / phases)
    elapsed = time.perf_counter() - start
    pace.tokens += sum(len(speaker.stream.tokens) for each in speakers for speaker in each)
    for speaker in (speaker for each in speakers for speaker in each):
        streams.close(speaker.stream)
    after = {key: value - before[key] for key, value in asdict(streams.runs).items()}
    return _told(pace, latency, count, phases, elapsed, after)


class _Pace:
    """Ticks, and what they took."""

    def __init__(self, streams: DeviceStreams, rng: random.Random) -> None:
        self.steps_s: list[float] = []
        self.after_s: list[NDArray[np.float64]] = []
        self.tokens = 0
        self.utterances = 0
        self._streams = streams
        self._rng = rng

    def tick(self, speakers: Sequence[Speaker], waits_s: NDArray[np.float64], due: float) -> None:
        """Step the streams of one phase when it is due."""
        fed = [speaker.next(self._rng) for speaker in speakers]
        while (now := time.perf_counter()) < due:
            time.sleep(max(0.0, min(due - now - 0.0005, 0.001)))
        heard = self._streams.step(fed)
        end = time.perf_counter()
        self.steps_s.append(end - now)
        self.after_s.append(end - due + waits_s)
        for each, tokens in zip(fed, heard, strict=True):
            if each.is_last:
                self.tokens += len(tokens)
                self.utterances += 1


def _told(pace: _Pace, latency: LatencyClass, count: int, phases: int, elapsed: float, runs: dict[str, int]) -> Told:
    period = latency.chunk_ms / 1000
    steps, after = np.array(pace.steps_s), np.concatenate(pace.after_s)
    duty = float(steps.sum() / elapsed)
    late = float((after > period).mean())
    p95 = float(np.percentile(after, 95))
    return Told(
        streams=count,
        chunk_ms=latency.chunk_ms,
        lookahead_ms=latency.lookahead_ms,
        phases=phases,
        seconds=round(elapsed, 2),
        duty=round(duty, 3),
        step_ms=[round(1000 * float(np.percentile(steps, at)), 2) for at in PERCENTILES],
        after_last_sample_ms=[round(1000 * float(np.percentile(after, at)), 2) for at in PERCENTILES],
        late_share=round(late, 5),
        tokens_per_s=round(pace.tokens / (count * elapsed), 2),
        utterances=pace.utterances,
        graphed=runs["graphed"],
        eager=runs["eager"],
        more=runs["more"],
        holds=duty < MOST_DUTY and p95 <= MOST_AFTER_S,
    )


def play_all(
    streams: DeviceStreams,
    latency: LatencyClass,
    recordings: Sequence[NDArray[np.float32]],
    together: int | None = None,
    asked: Sequence[tuple[Sequence[str], str | None]] | None = None,
) -> list[list[Token]]:
    """Return the tokens of recordings played to their ends as fast as it goes, so many streams to a step.

    Of each it may be asked for key phrases and a language.
    """
    said: list[list[Token]] = []
    size = together or max(1, len(recordings))
    for start in range(0, len(recordings), size):
        some = recordings[start : start + size]
        wishes = [((), None)] * len(some) if asked is None else asked[start : start + size]
        opened = [streams.open(latency, *each) for each in wishes]
        places = [0] * len(some)
        tokens: list[list[Token]] = [[] for _ in some]
        going = list(range(len(some)))
        while going:
            fed = []
            for index in going:
                stop = places[index] + opened[index].wanted
                fed.append(Fed(opened[index], some[index][places[index] : stop], stop >= len(some[index])))
                places[index] = stop
            for index, each, heard in zip(list(going), fed, streams.step(fed), strict=True):
                tokens[index] = list(heard)
                if each.is_last:
                    going.remove(index)
        for stream in opened:
            streams.close(stream)
        said += tokens
    return said
