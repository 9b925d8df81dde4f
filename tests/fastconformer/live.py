"""Live streams for tests: recordings played chunk by chunk, with what the encoder and the decoder made of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auricle.fastconformer.streaming.streams import BLOCKS, Fed, LiveStreams

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.fastconformer.device.streams import DeviceStreams
    from auricle.fastconformer.model import FastConformer, Head
    from auricle.fastconformer.streaming.block import Block, Chunk
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.streaming.streams import Stream, _Class
    from auricle.fastconformer.tokens import Token


class Recorder(LiveStreams):
    """Live streams that keep the encoder frames of each."""

    def __init__(
        self, model: FastConformer, most: int, head: Head | None = None, sizes: tuple[int, ...] = BLOCKS
    ) -> None:
        super().__init__(model, most, head, sizes)
        self.frames: dict[Stream, list[Tensor]] = {}

    def _decode(
        self, home: _Class, block: Block, frames: Tensor, fed: Sequence[tuple[Fed, Chunk]]
    ) -> list[list[Token]]:
        for (each, chunk), row in zip(fed, frames, strict=False):
            real = row if chunk.features is None else row[: chunk.frames]
            self.frames.setdefault(each.stream, []).append(real.clone())
        return super()._decode(home, block, frames, fed)

    def taken(self, stream: Stream) -> Tensor:
        """Return and forget the frames `(frames, width)` of a stream."""
        return torch.cat(self.frames.pop(stream, [torch.empty(0)]))


class Play:
    """One recording on its way through a stream."""

    def __init__(
        self,
        streams: LiveStreams | DeviceStreams,
        latency: LatencyClass,
        audio: NDArray[np.float32],
        phrases: Sequence[str] = (),
        language: str | None = None,
    ) -> None:
        self.stream = streams.open(latency, phrases, language)
        self.audio = audio
        self.place = 0
        self.tokens: list[Token] = []

    @property
    def over(self) -> bool:
        return self.place > len(self.audio)

    def next(self) -> Fed:
        """Return the next chunk; one that reaches the end is the last."""
        start, self.place = self.place, self.place + self.stream.wanted
        fed = Fed(self.stream, self.audio[start : self.place], is_last=self.place >= len(self.audio))
        if fed.is_last:
            self.place = len(self.audio) + 1
        return fed


def play(
    streams: LiveStreams | DeviceStreams,
    latency: LatencyClass,
    recordings: Sequence[NDArray[np.float32]],
    chosen: Callable[[Sequence[Play]], Sequence[Play]] = lambda plays: plays,
    phrases: Sequence[Sequence[str]] | None = None,
    languages: Sequence[str | None] | None = None,
) -> list[Play]:
    """Play the recordings to their ends, in each step those that are `chosen` of the ones still going on.

    `phrases` are the key phrases of each and `languages` what each is told, None for none.
    """
    each = zip(recordings, phrases or [()] * len(recordings), languages or [None] * len(recordings), strict=True)
    plays = [Play(streams, latency, *one) for one in each]
    while going := [one for one in plays if not one.over]:
        stepped = chosen(going)
        for one, tokens in zip(stepped, streams.step([one.next() for one in stepped]), strict=True):
            one.tokens = list(tokens)
    return plays


def at_random(rng: random.Random) -> Callable[[Sequence[Play]], Sequence[Play]]:
    """Return a choice of about half of those that go on, in any order, so that streams stall and drift apart."""
    return lambda plays: rng.sample(plays, rng.randint(0, len(plays)))
