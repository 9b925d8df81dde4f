"""Live streams of one model: opened in a slot, advanced together chunk by chunk, each as if it were alone."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from auricle.errors import EngineError
from auricle.fastconformer.beam import BeamDecoder
from auricle.fastconformer.boosting import Library
from auricle.fastconformer.ctc import CtcHead
from auricle.fastconformer.streaming.beam import ChunkBeam
from auricle.fastconformer.streaming.block import Chunk, make_block
from auricle.fastconformer.streaming.decoder import ChunkCtc, ChunkDecoder, ChunkTransducer
from auricle.fastconformer.streaming.features import ChunkFeatures
from auricle.fastconformer.streaming.latency import latency_classes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.fastconformer.model import FastConformer, Head
    from auricle.fastconformer.streaming.block import Block
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.streaming.state import EncoderState
    from auricle.fastconformer.tokens import Token
    from auricle.trace import Tracer

BLOCKS = (1, 2, 4, 8, 16, 32, 64)
"""How many chunks are computed together; within one size a stream's result is the same, bit for bit, in any company."""
_Item = TypeVar("_Item")
_FULL_ENOUGH = 0.75
_FIRST_SLOTS = 4


@dataclass(slots=True, eq=False)
class Stream:
    """A live stream: its latency class and slot, and of the utterance at hand the audio still needed and the tokens.

    Tokens count their frames from the start of the utterance; none of the first `settled` will ever change but to last
    longer.
    """

    latency: LatencyClass
    slot: int
    before: NDArray[np.float32]
    chunks: int = 0
    samples: int = 0
    tokens: list[Token] = field(default_factory=list)
    root: int = 0
    """Of its key phrases."""
    prompt: int = 0
    """Of its language."""
    settled: int | None = None
    """How many of the tokens will not change any more; None: all."""

    @property
    def wanted(self) -> int:
        """How many samples the next chunk must have, unless it is the last."""
        return self.latency.chunk_samples if self.chunks else self.latency.first_samples

    def hear(self, tokens: Sequence[Token]) -> None:
        """Add the tokens of the next chunk, one of frame -1 to the last that is there."""
        first = self.chunks * self.latency.frames
        for token in tokens:
            if token.frame < 0:
                last = self.tokens[-1]
                probability = max(last.probability, token.probability)
                self.tokens[-1] = replace(last, frames=last.frames + token.frames, probability=probability)
            else:
                self.tokens.append(replace(token, frame=token.frame + first))


@dataclass(frozen=True, slots=True)
class Fed:
    """A chunk for a stream: exactly the samples that it wants, or as many at most if the chunk is its last."""

    stream: Stream
    samples: NDArray[np.float32]
    is_last: bool = False


class _Class:
    """The streams of one latency class: their slots and state; the last slot is worked on by rows without a stream."""

    def __init__(self, state: EncoderState, decoder: ChunkDecoder) -> None:
        self.state = state
        self.decoder = decoder
        self.free: list[int] = []
        self.slots = 0

    @property
    def is_idle(self) -> bool:
        """Whether no stream is open in this class."""
        return len(self.free) == self.slots

    def take(self) -> int:
        """Return a free slot, making more where there is none."""
        if not self.free:
            more = max(_FIRST_SLOTS, self.slots)
            self.state.grow(self.slots + more + 1)
            self.decoder.grow(self.slots + more + 1)
            self.free = list(range(self.slots + more - 1, self.slots - 1, -1))
            self.slots += more
        return self.free.pop()


class LiveStreams:
    """Up to `most` live streams on one model, computed in blocks of `sizes`; used by one thread.

    Raises UnsupportedError naming the option for which the model cannot be served live.
    """

    def __init__(
        self,
        model: FastConformer,
        most: int,
        head: Head | None = None,
        sizes: tuple[int, ...] = BLOCKS,
        tracer: Tracer | None = None,
    ) -> None:
        self.classes = latency_classes(model.config)
        self.most = most
        self.sizes = sizes
        self._tracer = tracer
        self._model = model
        self._head = head
        self._decoder = model.decoder(head)
        self._features = ChunkFeatures(model.config.features, model.network.preprocessor)
        self._encoder = model.chunk_encoder(self.classes)
        self._open: dict[LatencyClass, _Class] = {}
        self._library = Library()
        self._count = 0

    @torch.inference_mode()
    def open(self, latency: LatencyClass, phrases: Sequence[str] = (), language: str | None = None) -> Stream:
        """Start a stream of one of the `classes` that prefers key phrases, as `FastConformer.spell` takes them.

        Raises what that does, and EngineError when there are `most` streams already or no room for the phrases.
        """
        if self._count >= self.most:
            raise EngineError("all places for live streams are taken", self.most, "close one, or wait")
        prompt = self._model.config.prompt(language)
        # What a class took for streams that are gone is another's to take.
        self._open = {one: home for one, home in self._open.items() if one is latency or not home.is_idle}
        if latency not in self._open:
            state = self._model.chunk_state(latency)
            self._open[latency] = _Class(state, self._chunk_decoder())
        home = self._open[latency]
        root = self._library.add(self._model.spell(phrases, self._head))
        slot = home.take()
        home.decoder.ask(slot, root)
        self._count += 1
        return Stream(latency, slot, self._silence(latency), root=root, prompt=prompt)

    def bytes_per_slot(self, latency: LatencyClass) -> int:
        """Return what one open stream of a class takes."""
        home = self._open[latency]
        return home.state.bytes_per_slot + home.decoder.bytes_per_slot

    def close(self, stream: Stream) -> None:
        """Give the stream's slot back."""
        self._open[stream.latency].free.append(stream.slot)
        self._library.drop(stream.root)
        self._count -= 1

    @torch.inference_mode()
    def step(self, fed: Sequence[Fed]) -> list[list[Token]]:
        """Advance each stream, named once, by its chunk; return the tokens of its utterance so far.

        After its last chunk a stream stands at the start of a new utterance. Raises EngineError for a chunk of another
        size than its stream wants.
        """
        for each in fed:
            check_fed(each)
        chunks = [self._chunk(each) for each in fed]
        for latency in self.classes:
            mine = [
                (each, chunk)
                for each, chunk in zip(fed, chunks, strict=True)
                if each.stream.latency is latency and (chunk.features is None or chunk.frames)
            ]
            for block, size in blocks(sorted(mine, key=lambda pair: pair[1].slot), self.sizes):
                self._advance(block, size, latency)
        self._finish([each.stream for each in fed if each.is_last and each.stream.chunks])
        return [self._end(each.stream) if each.is_last else each.stream.tokens for each in fed]

    def _advance(self, fed: Sequence[tuple[Fed, Chunk]], size: int, latency: LatencyClass) -> None:
        home = self._open[latency]
        chunks = [chunk for _, chunk in fed]
        block = make_block(chunks, size, home.slots, latency, self._features.history + latency.chunk_samples)
        fresh = block.slots[[row for row, chunk in enumerate(chunks) if not chunk.done]]
        if len(fresh):
            home.state.reset(fresh)
            home.decoder.reset(fresh)
        with self._stage("features"):
            features = self._features(block.audio, block.samples)
        with self._stage("encoder"):
            frames = self._encoder(features, block, latency, home.state)
            prompts = [each.stream.prompt for each, _ in fed]
            frames = self._model.told(frames, prompts + [0] * (size - len(prompts)))
        with self._stage("decode"):
            found = self._decode(home, block, frames, fed)
        for (each, chunk), tokens in zip(fed, found, strict=False):
            stream = each.stream
            if isinstance(home.decoder, ChunkBeam):
                stream.tokens, stream.settled = tokens, home.decoder.settled(stream.slot)
            else:
                stream.hear(tokens)
            stream.before = chunk.audio[-self._features.history :]
            stream.chunks += 1
            stream.samples += len(each.samples)

    def _finish(self, ended: Sequence[Stream]) -> None:
        """Let decoders that look at several hypotheses decide for one where utterances end."""
        for latency, home in self._open.items():
            if not isinstance(home.decoder, ChunkBeam):
                continue
            mine = sorted((one for one in ended if one.latency is latency), key=lambda one: one.slot)
            for block, size in blocks(mine, self.sizes):
                slots = [one.slot for one in block] + [home.slots] * (size - len(block))
                for stream, tokens in zip(block, home.decoder.finish(torch.tensor(slots)), strict=False):
                    stream.tokens = tokens

    def _chunk_decoder(self) -> ChunkDecoder:
        if isinstance(self._decoder, CtcHead):
            return ChunkCtc(self._decoder)
        if isinstance(self._decoder, BeamDecoder):
            return ChunkBeam(self._decoder, self._library)
        return ChunkTransducer(self._decoder, self._library)

    def _stage(self, name: str) -> AbstractContextManager[None]:
        return nullcontext() if self._tracer is None else self._tracer.span(name, "live")

    def _decode(
        self, home: _Class, block: Block, frames: Tensor, fed: Sequence[tuple[Fed, Chunk]]
    ) -> list[list[Token]]:
        """Return the tokens of encoder frames `(batch, frames, width)`, of which the first rows are those fed."""
        lengths = [frames.shape[1] if chunk.features is None else chunk.frames for _, chunk in fed]
        return home.decoder.decode(frames, block.slots, lengths + [0] * (len(frames) - len(fed)))

    def _chunk(self, fed: Fed) -> Chunk:
        stream, latency = fed.stream, fed.stream.latency
        audio = np.concatenate((stream.before, fed.samples))
        if not fed.is_last:
            return Chunk(stream.slot, stream.chunks, audio)
        features = self._model.network.preprocessor.frames(stream.samples + len(fed.samples))
        frames = self._model.network.encoder.pre_encode.frames(features) - stream.chunks * latency.frames
        return Chunk(stream.slot, stream.chunks, audio, features, frames)

    def _end(self, stream: Stream) -> list[Token]:
        """Put the stream at the start of a new utterance; return the tokens of the one that ended."""
        tokens, stream.tokens = stream.tokens, []
        stream.before, stream.chunks, stream.samples = self._silence(stream.latency), 0, 0
        return tokens

    def _silence(self, latency: LatencyClass) -> NDArray[np.float32]:
        """Return what stands before an utterance, so that its first chunk is as long as any other."""
        return np.zeros(self._features.history + latency.chunk_samples - latency.first_samples, np.float32)


def blocks(items: Sequence[_Item], sizes: Sequence[int]) -> Iterator[tuple[Sequence[_Item], int]]:
    """Cut `items` into blocks, each with the one of `sizes` that fits best: full, or filled up where little is idle."""
    while items:
        enough = [size for size in sizes if _FULL_ENOUGH * size <= len(items)]
        size = max(enough, default=min(sizes))
        yield items[:size], size
        items = items[size:]


def check_fed(fed: Fed) -> None:
    """Raise EngineError for a chunk of another size than its stream wants."""
    wanted, given = fed.stream.wanted, len(fed.samples)
    if given > wanted or (given < wanted and not fed.is_last):
        most = "at most " if fed.is_last else ""
        raise EngineError("a chunk for a live stream is of the wrong size", f"{given} samples", f"give {most}{wanted}")
