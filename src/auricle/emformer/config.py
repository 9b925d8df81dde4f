"""The sizes of a model, read from the shapes of its weights, and what its weights do not tell.

torchaudio keeps no configuration beside the weights: what no shape tells are the constants of its factory
`emformer_rnnt_base` and of its `RNNTBundle`, and models made otherwise cannot be told from these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

SAMPLE_RATE_HZ = 16_000
N_FFT = 400
HOP_SAMPLES = 160

SEGMENT_FEATURES = 16
RIGHT_FEATURES = 4
STRIDE = 4
"""So many feature frames make an encoder frame."""

SEGMENT = SEGMENT_FEATURES // STRIDE
RIGHT = RIGHT_FEATURES // STRIDE
LEFT = 30
"""Encoder frames of a segment, after it, and before it that a segment sees."""

HEADS = 8
FRAME_S = STRIDE * HOP_SAMPLES / SAMPLE_RATE_HZ
SEGMENT_SAMPLES = SEGMENT_FEATURES * HOP_SAMPLES
WINDOW_SAMPLES = SEGMENT_SAMPLES + RIGHT_FEATURES * HOP_SAMPLES
"""What is heard of a live segment: its own samples and those of its right context."""

FIRST_SAMPLES = WINDOW_SAMPLES - SEGMENT_SAMPLES
"""With a first chunk of so many, every later chunk of `SEGMENT_SAMPLES` completes a segment."""

MOST_LABELS_A_FRAME = 100

_LAYER = re.compile(r"transcriber\.transformer\.emformer_layers\.(\d+)\.layer_norm_input\.weight")
_LSTM = re.compile(r"predictor\.lstm_layers\.(\d+)\.p2g\.weight")
_REMEDY = "give the weights of a model that torchaudio's `emformer_rnnt_base` built"


@dataclass(frozen=True, slots=True)
class Config:
    """The sizes of a model; `vocabulary` leaves out the blank, whose number it is."""

    mels: int
    reduced: int
    layers: int
    feedforward: int
    joint: int
    embedding: int
    lstm_layers: int
    hidden: int
    vocabulary: int

    @property
    def width(self) -> int:
        """The width of the encoder's layers."""
        return self.reduced * STRIDE


def read_config(weights: Mapping[str, Tensor]) -> Config:
    """Read the sizes from the shapes of weights under torchaudio's names; raises ModelError for other weights."""
    reduced, mels = _shape(weights, "transcriber.input_linear.weight")
    first = "transcriber.transformer.emformer_layers.0."
    feedforward, width = _shape(weights, f"{first}pos_ff.1.weight")
    embeddings, embedding = _shape(weights, "predictor.embedding.weight")
    _, hidden = _shape(weights, "predictor.lstm_layers.0.p2g.weight")
    kinds, joint = _shape(weights, "joiner.linear.weight")
    if width != reduced * STRIDE or width % HEADS or kinds != embeddings or kinds < _FEWEST_KINDS:
        sizes = f"{reduced} and {width} wide, {kinds} and {embeddings} labels"
        raise ModelError("the sizes of the weights do not fit each other", sizes, _REMEDY)
    return Config(
        mels=mels,
        reduced=reduced,
        layers=_count(weights, _LAYER),
        feedforward=feedforward,
        joint=joint,
        embedding=embedding,
        lstm_layers=_count(weights, _LSTM),
        hidden=hidden,
        vocabulary=kinds - 1,
    )


_FEWEST_KINDS = 2


def _shape(weights: Mapping[str, Tensor], key: str) -> tuple[int, int]:
    value = weights.get(key)
    if value is None or value.dim() != len(("rows", "columns")):
        raise ModelError("the weights are not those of an Emformer RNN-T of torchaudio", key, _REMEDY)
    return int(value.shape[0]), int(value.shape[1])


def _count(weights: Mapping[str, Tensor], pattern: re.Pattern[str]) -> int:
    return sum(1 for key in weights if pattern.fullmatch(key))
