"""Holds the graphs of a folder to the networks in torch: every output of every step, on real audio.

Both sides keep a state of their own from the first chunk to the last, so that a state which is not moved on, or an axis
that is mistaken, shows as soon as something depends on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.errors import UnsupportedError
from auricle.fastconformer.ctc import CtcHead
from auricle.fastconformer.ort.live import named
from auricle.fastconformer.streaming.block import Chunk, make_block
from auricle.fastconformer.streaming.features import ChunkFeatures
from auricle.fastconformer.streaming.latency import latency_classes
from auricle.fastconformer.streaming.streams import Fed, LiveStreams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.fastconformer.model import FastConformer
    from auricle.fastconformer.streaming.latency import LatencyClass

TOLERANCE = 1e-3
"""How far an output in single precision may be from torch's, as a share of the largest number in it, or of 1."""


@dataclass(slots=True)
class Errors:
    """The largest errors by output, as numbers and as shares of its size, and where one was first beyond `TOLERANCE`.

    `steps` counts what was compared, `broken` is the first output that was not finite or too far off, by its place.
    """

    largest: dict[str, float] = field(default_factory=dict)
    share: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    broken: str | None = None

    def add(self, output: str, place: str, wanted: Tensor, found: Tensor) -> None:
        """Compare one output of one step."""
        self.steps += 1
        if wanted.shape != found.shape:
            self.broken = self.broken or f"{output} has the shape {tuple(found.shape)}, {place}"
            return
        if not wanted.numel():
            return
        error = float((wanted - found).abs().max())
        error = error if math.isfinite(error) else math.inf
        share = error / max(1.0, float(wanted.abs().max()))
        self.largest[output] = max(error, self.largest.get(output, 0.0))
        self.share[output] = max(share, self.share.get(output, 0.0))
        if share > TOLERANCE and self.broken is None:
            size = "is not finite" if math.isinf(error) else f"is off by {error:.3g}"
            self.broken = f"{output} {size}, {place}"


@torch.inference_mode()
def compare(reference: FastConformer, candidate: FastConformer, audio: Sequence[NDArray[np.float32]]) -> Errors:
    """Compare every output of the encoder for files, of the live one at every lookahead, and of the decoders."""
    errors = Errors()
    features, lengths = reference.features(audio)
    wanted, counts = reference.encode_features(features, lengths)
    found, found_counts = candidate.encode_features(features, lengths)
    errors.add("encoded_lengths", "in files", counts.float(), found_counts.float())
    for row, count in enumerate(counts.tolist()):
        errors.add("outputs", f"in recording {row + 1}", wanted[row, :count], found[row, :count])
    _decoders(errors, reference, candidate, wanted, counts)
    try:
        classes = latency_classes(reference.config)
    except UnsupportedError:
        return errors
    for latency in classes:
        _live(errors, reference, candidate, audio, latency, classes)
    return errors


def tokens_differ(
    reference: FastConformer, candidate: FastConformer, audio: Sequence[NDArray[np.float32]]
) -> Mapping[str, int]:
    """Count the recordings whose tokens differ, as files and live at every lookahead."""
    found: dict[str, int] = {}
    for head in reference.decoders:
        said = [[_labels(one) for one in model.decode(*model.encode(audio), head)] for model in (reference, candidate)]
        found[f"files, {head}"] = sum(a != b for a, b in zip(*said, strict=True))
    try:
        latency_classes(reference.config)
    except UnsupportedError:
        return found
    heard = [_streamed(model, audio) for model in (reference, candidate)]
    for chunk_ms, wanted in heard[0].items():
        found[f"live, {chunk_ms} ms"] = sum(a != b for a, b in zip(wanted, heard[1][chunk_ms], strict=True))
    return found


def _labels(tokens: Sequence[object]) -> list[int]:
    return [getattr(token, "index") for token in tokens]  # noqa: B009


def _streamed(model: FastConformer, audio: Sequence[NDArray[np.float32]]) -> dict[int, list[list[int]]]:
    found: dict[int, list[list[int]]] = {}
    for latency in latency_classes(model.config):
        live = LiveStreams(model, len(audio))
        going = {live.open(latency): 0 for _ in audio}
        recordings = dict(zip(going, audio, strict=True))
        finals: dict[int, list[int]] = {}
        order = list(going)
        while going:
            fed = []
            for stream, start in going.items():
                samples = recordings[stream]
                going[stream] = stop = start + stream.wanted
                fed.append(Fed(stream, samples[start:stop], is_last=stop >= len(samples)))
            for one, tokens in zip(fed, live.step(fed), strict=True):
                if one.is_last:
                    finals[order.index(one.stream)] = _labels(tokens)
                    del going[one.stream]
        found[latency.chunk_ms] = [finals[number] for number in range(len(audio))]
    return found


def _decoders(
    errors: Errors, reference: FastConformer, candidate: FastConformer, frames: Tensor, counts: Tensor
) -> None:
    for head in reference.decoders:
        wanted, found = reference.decoder(head), candidate.decoder(head)
        if isinstance(wanted, CtcHead) and isinstance(found, CtcHead):
            errors.add("logprobs", "in files", wanted(frames), found(frames))
        elif not isinstance(wanted, CtcHead) and not isinstance(found, CtcHead):
            for place, (one, other) in enumerate(zip(_scored(wanted, frames), _scored(found, frames), strict=True)):
                errors.add(("scores", "said", "hidden", "cells")[place % 4], f"at label {place // 4}", one, other)
    del counts


def _scored(decoder: object, frames: Tensor) -> list[Tensor]:
    """Return what a transducer makes of frames after three labels, one after the other."""
    predictor, joint = getattr(decoder, "_predictor"), getattr(decoder, "_joint")  # noqa: B009
    state, found = predictor.start(len(frames)), []
    projected = joint.enc(frames)
    for label in range(3):
        said, state = predictor(torch.full((len(frames),), label), state)
        said = joint.pred(said)
        found += [joint(projected, said), said, *state]
    return found


def _live(
    errors: Errors,
    reference: FastConformer,
    candidate: FastConformer,
    audio: Sequence[NDArray[np.float32]],
    latency: LatencyClass,
    classes: Sequence[LatencyClass],
) -> None:
    features = ChunkFeatures(reference.config.features, reference.network.preprocessor)
    models = [(model.chunk_encoder(classes), model.chunk_state(latency)) for model in (reference, candidate)]
    size = len(audio)
    for _, state in models:
        state.grow(size)
    silent = features.history + latency.chunk_samples - latency.first_samples
    padded = [np.concatenate((np.zeros(silent, np.float32), one)) for one in audio]
    steps = (min(map(len, padded)) - features.history) // latency.chunk_samples
    for step in range(steps):
        start = step * latency.chunk_samples
        stop = start + features.history + latency.chunk_samples
        block = make_block(
            [Chunk(row, step, one[start:stop]) for row, one in enumerate(padded)], size, size, latency, stop - start
        )
        heard = features(block.audio, block.samples)
        wanted, found = (encoder(heard, block, latency, state) for encoder, state in models)
        place = f"in step {step + 1} at {latency.chunk_ms} ms"
        errors.add("frames", place, wanted, found)
        for (name, one), (_, other) in zip(named(models[0][1]), named(models[1][1]), strict=True):
            errors.add(f"{name}.next", place, one[:size], other[:size])
