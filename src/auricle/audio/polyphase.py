"""Sampling-rate conversion for many live streams: a few hundred bytes a stream, and a few microseconds a packet.

A windowed sinc in polyphase form (Crochiere and Rabiner, Multirate Digital Signal Processing, 1983): `ROW` outputs or
so are one row of a product with a banded matrix that all streams of these rates share. Rows are multiplied `TILE` at a
time, at places counted from the start of the stream, so that a sample does not depend on how the stream was cut.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW = 32
TILE = 8
MOST_PHASES = 32
CROSSINGS = 24
"""Zero crossings of the sinc on either side."""
KAISER_BETA = 8.0
CUTOFF = 0.94
"""Half of the amplitude is left at this part of the lower Nyquist frequency."""


class Polyphase:
    """Converts mono float32 from `source_rate` to `rate` Hz piece by piece; for rates that `suits` accepts."""

    def __init__(self, source_rate: int, rate: int) -> None:
        common = gcd(source_rate, rate)
        self._up, self._down = rate // common, source_rate // common
        self._matrix = _matrix(self._up, self._down)
        repeats = max(ROW // self._up, 1)
        self._outputs, self._inputs = repeats * self._up, repeats * self._down
        self._half = (len(self._matrix) - self._inputs) // 2
        self._outputs_of_tile, self._step = TILE * self._outputs, TILE * self._inputs
        self._reach = len(self._matrix) - self._inputs
        self._silence = _silence(self._step + self._reach)
        self._held = np.zeros(self._half, np.float32)
        self._received = 0
        self._done = 0

    @staticmethod
    def suits(source_rate: int, rate: int) -> bool:
        """Tell whether the ratio of the rates has few enough phases."""
        return rate // gcd(source_rate, rate) <= MOST_PHASES

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the samples that are ready, shape `(samples,)`, perhaps none."""
        self._received += len(samples)
        ready = max(-((self._half - self._received) * self._up // self._down), self._done)
        first, last = self._done // self._outputs_of_tile, -(-ready // self._outputs_of_tile)
        if ready == self._done:
            self._held = np.concatenate((self._held, samples))
            return samples[:0]
        missing = max((last - first) * self._step + self._reach - len(self._held) - len(samples), 0)
        held = np.concatenate((self._held, samples, self._silence[:missing]))
        tiles, strides = (last - first, TILE, len(self._matrix)), (4 * self._step, 4 * self._inputs, 4)
        windows: NDArray[np.float32] = np.ndarray(tiles, np.float32, held, 0, strides)
        heard: NDArray[np.float32] = np.matmul(windows.copy(), self._matrix).reshape(-1)
        done, self._done = self._done - first * self._outputs_of_tile, ready
        self._held = held[(ready // self._outputs_of_tile - first) * self._step : len(held) - missing]
        return heard[done : ready - first * self._outputs_of_tile]

    def finish(self) -> NDArray[np.float32]:
        """Return the samples still inside, as if silence followed; nothing may be fed after."""
        return self.feed(np.zeros(self._half, np.float32))


@cache
def _silence(samples: int) -> NDArray[np.float32]:
    return np.zeros(samples, np.float32)


@cache
def _matrix(up: int, down: int) -> NDArray[np.float32]:
    """Return what a row of inputs is multiplied with, shape `(inputs + 2 x half, outputs)`."""
    repeats = max(ROW // up, 1)
    lowest = min(1.0, up / down) * CUTOFF
    half = int(np.ceil(CROSSINGS / min(1.0, up / down)))
    place = np.arange(repeats * up) * (down / up)
    distance = np.arange(-half, repeats * down + half)[:, np.newaxis] - place
    inside = np.clip(1.0 - (distance / half) ** 2, 0.0, None)
    window = np.i0(KAISER_BETA * np.sqrt(inside)) * (np.abs(distance) < half)
    taps = np.sinc(lowest * distance) * window
    return np.ascontiguousarray(taps / taps.sum(axis=0), np.float32)
