"""Live streams: each chunk is encoded once, as a window of the encoder, and the answer goes on from where it is sure.

A stream keeps the decoder's keys and values of its prompt and of all audio so far. A step adds those of the new audio,
then has the model read the end of the prompt and the answer so far without its last ROLL_BACK tokens, and go on. After
at most MOST_SPAN_S the text is final and the stream starts anew, so a step costs the same however long a stream is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from auricle.qwen3.cache import cache_bytes, rounded
from auricle.qwen3.config import FEATURE_HZ
from auricle.qwen3.features import FFT, HOP, RATE_HZ, SHORTEST, scaled
from auricle.qwen3.model import SPARE_TOKENS, TOKENS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.qwen3.model import Qwen3Asr
    from auricle.qwen3.stages import Meter
    from auricle.qwen3.steps import Steps

CHUNKS_S = (2, 1, 4, 8)
"""Windows that the encoder was trained with; the first is the default."""

ROLL_BACK = 5
"""Tokens at the end of an answer that may still change."""

UNSURE_CHUNKS = 2
"""Chunks at the start of a span after which the answer is begun anew."""

SPAN_S, MOST_SPAN_S = 20, 30
"""A span ends at the first silence after the one, or at the other."""

_QUIET = 0.1
"""A chunk that ends this much quieter than its span is on average ends in silence."""

_ENDING_S = 0.3
_BROKEN = "�"


@dataclass(slots=True)
class Live:
    """A live stream: `keys` and `values` of `filled` positions, `(layers, kv_heads, positions, head)`, and its answer.

    `sure` tokens of what was `said` in this span will not change, nor will the text of the spans before it.
    """

    context: str
    language: str | None
    keys: Tensor
    values: Tensor
    filled: int = 0
    samples: int = 0
    chunks: int = 0
    energy: float = 0.0
    said: list[int] = field(default_factory=list)
    sure: int = 0
    before: str = ""
    left: NDArray[np.float32] | None = None
    loudest: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Fed:
    """What a stream is given: a chunk of samples, the last of an utterance or not."""

    stream: Live
    samples: NDArray[np.float32]
    is_last: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """The text of an utterance so far, and how much of it, in words, will not change."""

    text: str
    stable_words: int


class LiveStreams:
    """Advances live streams of one model together."""

    def __init__(self, model: Qwen3Asr) -> None:
        self._model = model

    def open(self, context: str, language: str | None) -> Live:
        """Start a stream whose words are biased towards a context, in a language or in whatever is heard."""
        config, decoder = self._model.config, self._model.decoder
        positions = len(self._model.prompts.head(context)) + _span_tokens(self._model)
        shape = (config.decoder.layers, config.decoder.kv_heads, positions, config.decoder.head)
        keys, values = (torch.empty(shape, dtype=decoder.dtype, device=decoder.device) for _ in range(2))
        return Live(context, language, keys, values)

    @torch.inference_mode()
    def step(self, fed: Sequence[Fed], meter: Meter, check: Callable[[], None] = lambda: None) -> list[Heard]:
        """Advance streams by a chunk each and return what they heard; a last chunk ends the utterance."""
        new = self._encode(fed, meter)
        spoken = [place for place, tokens in enumerate(new) if len(tokens)]
        if spoken:
            self._answer([fed[place] for place in spoken], [new[place] for place in spoken], meter, check)
        with meter.stage("detokenise"):
            return [self._tell(one) for one in fed]

    def _encode(self, fed: Sequence[Fed], meter: Meter) -> list[Tensor]:
        """Return the tokens of the new audio of each stream, `(tokens, width)`, none where it is too short for any."""
        with meter.stage("mel") as total:
            features = [self._features(one) for one in fed]
            frames = sum(each.shape[1] for each in features)
            total.units += frames
        width = self._model.config.decoder.width
        found = [torch.zeros(0, width, device=self._model.device) for _ in fed]
        places = [place for place, each in enumerate(features) if each.shape[1]]
        if not places:
            return found
        with meter.stage("stem", frames):
            tokens = self._model.encoder.stem([features[place] for place in places])
        with meter.stage("encoder", sum(map(len, tokens))):
            for place, each in zip(places, self._model.encoder.encode(tokens, max(CHUNKS_S)), strict=True):
                found[place] = each
        return found

    def _features(self, one: Fed) -> Tensor:
        """Return a chunk's features, `(mels, frames)`; its last frame sees its end mirrored, as that of a recording."""
        stream, samples = one.stream, one.samples
        stream.samples += len(samples)
        stream.energy += float(np.square(samples, dtype=np.float64).sum())
        if one.is_last and 0 < stream.samples < SHORTEST:
            samples = np.pad(samples, (0, SHORTEST - stream.samples))
        frames = len(samples) // HOP
        if not frames:
            return torch.zeros(self._model.config.encoder.mels, 0, device=self._model.device)
        half = FFT // 2
        left = samples[half:0:-1] if stream.left is None else stream.left
        wave = torch.from_numpy(np.concatenate([left, samples])).to(self._model.device)
        logs = self._model.features.piece(functional.pad(wave[None], (0, half), mode="reflect")[0])[:, :frames]
        stream.left = samples[-half:].copy()
        loudest = logs.max()
        stream.loudest = loudest if stream.loudest is None else torch.maximum(stream.loudest, loudest)
        return scaled(logs, stream.loudest)

    def _answer(self, fed: Sequence[Fed], new: Sequence[Tensor], meter: Meter, check: Callable[[], None]) -> None:
        """Have the model read new audio, and say on what it said."""
        model, streams = self._model, [one.stream for one in fed]
        heads = [[] if stream.filled else model.prompts.head(stream.context) for stream in streams]
        kept = [stream.said[: stream.sure] for stream in streams]
        inputs = [
            torch.cat([model.embed(head), audio, model.embed(self._ending(stream, prefix))])
            for stream, head, audio, prefix in zip(streams, heads, new, kept, strict=True)
        ]
        starts = [stream.filled for stream in streams]
        lengths = [start + len(each) for start, each in zip(starts, inputs, strict=True)]
        limits = [_limit(one) for one in fed]
        longest = max(starts) + max(map(len, inputs))
        furthest = max(longest, *map(sum, zip(lengths, limits, strict=True)))
        with meter.stage("kv copy") as total:
            steps = model.generator.working(len(fed), furthest + 1)
            for row, stream in enumerate(streams):
                total.bytes += _load(steps, row, stream)
        with meter.stage("prefill", sum(map(len, inputs))):
            x = pad_sequence(inputs, batch_first=True)
            begin = torch.tensor(starts, device=x.device)
            hidden = model.decoder.extend(x, begin, steps.cache, min(rounded(longest), steps.cache.capacity))
            ends = torch.tensor(lengths, device=x.device)
            tokens, scores = model.decoder.choose(hidden[torch.arange(len(fed), device=x.device), ends - begin - 1])
        with meter.stage("kv copy") as total:
            for row, (stream, head, audio) in enumerate(zip(streams, heads, new, strict=True)):
                total.bytes += _keep(steps, row, stream, len(head) + len(audio))
        steps.begin(tokens, ends, scores)
        said = model.generator.decode(steps, limits, lengths, meter, check)
        for stream, prefix, answer in zip(streams, kept, said, strict=True):
            stream.said = [*prefix, *answer]
            stream.chunks += 1
            if stream.chunks >= UNSURE_CHUNKS:
                stream.sure = max(stream.sure, len(stream.said) - ROLL_BACK)

    def _ending(self, stream: Live, prefix: Sequence[int]) -> list[int]:
        prompts = self._model.prompts
        return [*prompts.tail, *prompts.opening(stream.language), *prefix]

    def _tell(self, one: Fed) -> Heard:
        """Return a stream's text, and let the stream start anew where an utterance or a span ended."""
        stream = one.stream
        text = _joined(stream.before, self._text(stream, stream.said))
        if one.is_last:
            _restart(stream, "")
            stream.left = stream.loudest = None
            return Heard(text, len(text.split()))
        if _span_ends(one):
            _restart(stream, text)
            return Heard(text, len(text.split()))
        text = text.rstrip(_BROKEN)  # A letter whose last bytes are still to come.
        sure = _joined(stream.before, self._text(stream, stream.said[: stream.sure]))
        # The last word that is sure may still grow.
        return Heard(text, max(len(stream.before.split()), len(sure.split()) - 1))

    def _text(self, stream: Live, tokens: Sequence[int]) -> str:
        return self._model.prompts.answer(tokens, stream.language).text


def slot_bytes(model: Qwen3Asr) -> int:
    """Return what a stream keeps at most, without a context."""
    positions = len(model.prompts.head()) + _span_tokens(model)
    return cache_bytes(model.config.decoder, 1, positions, model.decoder.dtype.itemsize)


def _span_tokens(model: Qwen3Asr) -> int:
    return model.config.encoder.tokens(FEATURE_HZ * (MOST_SPAN_S + max(CHUNKS_S)))


def _limit(one: Fed) -> int:
    """Return how many tokens a stream may say in a step: what was rolled back, and what fits into the new audio."""
    unsure = len(one.stream.said) - one.stream.sure
    return min(unsure, SPARE_TOKENS) + SPARE_TOKENS + math.ceil(TOKENS_PER_S * len(one.samples) / RATE_HZ)


def _load(steps: Steps, row: int, stream: Live) -> int:
    steps.cache.keys[:, row, :, : stream.filled] = stream.keys[:, :, : stream.filled]
    steps.cache.values[:, row, :, : stream.filled] = stream.values[:, :, : stream.filled]
    return 2 * stream.keys[:, :, : stream.filled].numel() * stream.keys.element_size()


def _keep(steps: Steps, row: int, stream: Live, count: int) -> int:
    """Keep keys and values of `count` more positions, which are the prompt's start and audio; return their bytes."""
    new = slice(stream.filled, stream.filled + count)
    stream.keys[:, :, new] = steps.cache.keys[:, row, :, new]
    stream.values[:, :, new] = steps.cache.values[:, row, :, new]
    stream.filled += count
    return 2 * stream.keys[:, :, new].numel() * stream.keys.element_size()


def _span_ends(one: Fed) -> bool:
    stream = one.stream
    seconds = stream.samples / RATE_HZ
    if seconds < SPAN_S or seconds >= MOST_SPAN_S:
        return seconds >= MOST_SPAN_S
    ending = one.samples[-int(_ENDING_S * RATE_HZ) :]
    return float(np.square(ending).mean()) <= _QUIET**2 * stream.energy / stream.samples


def _restart(stream: Live, before: str) -> None:
    """Let a stream start anew after a text that is final."""
    stream.before = before
    stream.filled = stream.samples = stream.chunks = stream.sure = 0
    stream.energy = 0.0
    stream.said = []


def _joined(before: str, text: str) -> str:
    return f"{before} {text}".strip()
