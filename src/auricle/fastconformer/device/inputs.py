"""What a step of live streams is given, in tensors that stay where they are from step to step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from auricle.fastconformer.config import SUBSAMPLING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.streaming.latency import LatencyClass

ENDLESS = 1 << 40
"""Feature frames of an utterance whose end is not known yet."""

_COPIED_AT_ONCE = 1 << 19
"""Samples that one thread copies: a fifth of a millisecond's work."""

_COPIERS = 4

_SLOT, _DONE, _SAMPLES, _FEATURES, _FRAMES, _PROMPT, _ROOT = range(7)


@cache
def _copiers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_COPIERS, "auricle-copy")


class Row(NamedTuple):
    """The next chunk of the stream in `slot`, after `done` others of its utterance.

    `audio` is at most a chunk; the first chunk of an utterance is shorter and stands at the end of its place.
    `features` and `frames` are how many of the utterance there are in all up to its end, and in this chunk, when the
    chunk is the last; None and any number otherwise. `prompt` is that of the stream's language, `root` that of its key
    phrases, 0 for none.
    """

    slot: int
    done: int
    audio: NDArray[np.float32]
    features: int | None = None
    frames: int = 0
    prompt: int = 0
    root: int = 0


class Inputs:
    """The chunks of a block of `size` rows of one latency class, on the host and on the device.

    On the device, `audio` is `(size, samples)`; the others are `(size,)`: `slots`; `done` chunks; `samples` that are
    audio or stand before it; `features` of the utterance in all; `frames` of the chunk that are real, none in a row
    without a stream; `prompts`; `roots` of key phrases; `fresh` and `ends`, whether an utterance begins or ends.
    """

    def __init__(self, size: int, latency: LatencyClass, spare: int, device: torch.device) -> None:
        pinned = device.type == "cuda"
        self.size = size
        self._latency = latency
        self._spare = spare
        self._audio = torch.zeros(size, latency.chunk_samples, pin_memory=pinned)
        self._numbers = torch.zeros(7, size, dtype=torch.int64, pin_memory=pinned)
        self.audio = self._audio.to(device)
        self._given = self._numbers.to(device)
        self._rows = self._audio.numpy()
        self._table = self._numbers.numpy()
        self.put(())

    def put(self, rows: Sequence[Row]) -> None:
        """Set the chunks; the rows that are left over all work on the spare slot and say nothing."""
        latency, table, count = self._latency, self._table, len(rows)
        table[:, count:] = np.array([self._spare, latency.turns, latency.chunk_samples, ENDLESS, 0, 0, 0])[:, None]
        if not rows:
            return
        whole = latency.chunk_samples
        if all(len(row.audio) == whole for row in rows):
            self._put_whole([row.audio for row in rows])
            table[_SAMPLES, :count] = whole
        else:
            for place, row in enumerate(rows):
                self._put_audio(place, row)
        table[_SLOT, :count] = [row.slot for row in rows]
        table[_DONE, :count] = [row.done for row in rows]
        table[_FEATURES, :count] = [ENDLESS if row.features is None else row.features for row in rows]
        table[_FRAMES, :count] = [latency.frames if row.features is None else row.frames for row in rows]
        table[_PROMPT, :count] = [row.prompt for row in rows]
        table[_ROOT, :count] = [row.root for row in rows]

    def _put_whole(self, audio: Sequence[NDArray[np.float32]]) -> None:
        """Copy whole chunks, by several threads where there is much: NumPy lets the others run meanwhile."""
        share = max(1, _COPIED_AT_ONCE // self._latency.chunk_samples)
        if len(audio) <= share:
            np.stack(audio, out=self._rows[: len(audio)])
            return
        parts = [slice(start, start + share) for start in range(0, len(audio), share)]
        for done in [
            _copiers().submit(np.stack, audio[part], out=self._rows[part][: len(audio) - part.start]) for part in parts
        ]:
            done.result()

    def _put_audio(self, place: int, row: Row) -> None:
        audio, length = self._rows[place], len(row.audio)
        start = 0 if row.done else self._latency.chunk_samples - self._latency.first_samples
        audio[:start] = 0.0
        audio[start : start + length] = row.audio
        self._table[_SAMPLES, place] = start + length

    def send(self) -> None:
        """Copy what was set to the device; on a CUDA device this does not wait."""
        self.audio.copy_(self._audio, non_blocking=True)
        self._given.copy_(self._numbers, non_blocking=True)

    @property
    def slots(self) -> Tensor:
        """The rows of the state."""
        return self._given[_SLOT]

    @property
    def done(self) -> Tensor:
        """How many chunks of the utterance came before."""
        return self._given[_DONE]

    @property
    def samples(self) -> Tensor:
        """How many samples of the chunk's place there are up to the end of the audio."""
        return self._given[_SAMPLES]

    @property
    def features(self) -> Tensor:
        """How many feature frames the utterance has."""
        return self._given[_FEATURES]

    @property
    def frames(self) -> Tensor:
        """How many encoder frames of the chunk are real."""
        return self._given[_FRAMES]

    @property
    def prompts(self) -> Tensor:
        """The prompt of each stream's language."""
        return self._given[_PROMPT]

    @property
    def roots(self) -> Tensor:
        """The root of each stream's key phrases, 0 for none."""
        return self._given[_ROOT]

    @property
    def ends(self) -> Tensor:
        """Whether an utterance ends."""
        return self.features != ENDLESS

    @property
    def fresh(self) -> Tensor:
        """Whether an utterance begins."""
        return self.done == 0

    @property
    def first_features(self) -> Tensor:
        """The number of the first feature frame that the chunk brings, below zero where it lies before the start."""
        return SUBSAMPLING * (self._latency.frames * self.done - 1) + 1
