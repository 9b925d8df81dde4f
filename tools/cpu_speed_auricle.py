"""Auricle's own runtime, as its engine calls it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from auricle.fastconformer.loading import load
from auricle.fastconformer.streaming.streams import Fed, LiveStreams

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.fastconformer.tokens import Token


class Live:
    """Streams of one latency class, each in its slot."""

    def __init__(self, model: str, right: int, threads: int) -> None:
        torch.set_num_threads(threads)
        self._model = load(Path(model))
        self._right = right

    def open(self, audio: Sequence[NDArray[np.float32]]) -> float:
        """Start the streams."""
        self._live = LiveStreams(self._model, len(audio))
        latency = next(known for known in self._live.classes if known.frames == self._right + 1)
        self._streams = [self._live.open(latency) for _ in audio]
        self._audio, self._heard = audio, 0
        return 0.0

    def step(self) -> None:
        """Advance all streams by a chunk."""
        stop = self._heard + self._streams[0].wanted
        fed = [
            Fed(stream, samples[self._heard : stop]) for stream, samples in zip(self._streams, self._audio, strict=True)
        ]
        self._said = self._live.step(fed)
        self._heard = stop
        for said in self._said:
            self._model.tokenizer.text(said)

    def tokens(self) -> list[list[int]]:
        """Return the labels so far."""
        return _indices(self._said)


class Offline:
    """Whole recordings in one batch."""

    def __init__(self, model: str, right: int, threads: int) -> None:
        torch.set_num_threads(threads)
        self._model = load(Path(model))
        self._context = next(context for context in self._model.contexts if context.right == right)

    def open(self, audio: Sequence[NDArray[np.float32]]) -> float:
        """Keep the recordings."""
        self._audio = audio
        return 0.0

    def step(self) -> None:
        """Recognise all recordings."""
        self._said = self._model.decode(*self._model.encode(self._audio, self._context))
        for said in self._said:
            self._model.tokenizer.text(said)

    def tokens(self) -> list[list[int]]:
        """Return the labels of each recording."""
        return _indices(self._said)


def _indices(said: Sequence[Sequence[Token]]) -> list[list[int]]:
    return [[token.index for token in tokens] for tokens in said]
