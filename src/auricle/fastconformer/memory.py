"""What a model takes in memory, from its configuration alone: a live stream's slot, and a batch of recordings.

A slot is exact: it is what the live state allocates. A batch is a bound, which `measure` holds to what is really there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.fastconformer.config import SUBSAMPLING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.config import AttentionContext, EncoderConfig, ModelConfig
    from auricle.fastconformer.streaming.latency import LatencyClass

QUERY_BLOCK_FRAMES = 256
"""Attention takes so many frames at once, so that scores do not grow with the square of the length."""

BATCH_BYTES = 256 << 20
"""What the tensors of recordings that are computed together may take."""

RECORDING_BYTES = 2 << 30
"""What the tensors of one recording, computed alone, may take."""

_FLOAT_BYTES = 4
_COMPLEX_BYTES = 8
_PRE_ENCODER_STAGES = 3


@dataclass(frozen=True, slots=True)
class SlotValues:
    """How many numbers one live stream keeps from chunk to chunk; a few whole numbers beside them are left out.

    `keys_values` are those of the attention ring, `convolution` the frames before a chunk that each layer's convolution
    sees, `pre_encoder` the last input row of each strided convolution, `predictor` the state of the prediction network
    and its projected output.
    """

    keys_values: int
    convolution: int
    pre_encoder: int
    predictor: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.keys_values + self.convolution + self.pre_encoder + self.predictor


def slot_values(config: ModelConfig, latency: LatencyClass) -> SlotValues:
    """Return what a live stream of a latency class keeps, decoded by the model's own decoder."""
    encoder, transducer = config.encoder, config.transducer
    return SlotValues(
        keys_values=encoder.layers * 2 * (latency.left + latency.frames) * encoder.width,
        convolution=encoder.layers * encoder.conv_left * encoder.width,
        pre_encoder=encoder.mels + encoder.pre_encode_channels * sum(_bands(encoder)[1:-1]),
        predictor=0 if transducer is None else transducer.rnn_layers * 2 * transducer.hidden + transducer.joint_hidden,
    )


def batch_bytes(config: ModelConfig, rows: int, frames: int) -> int:
    """Return a bound on the bytes of all tensors while `rows` recordings of `frames` encoder frames are recognised.

    The largest of what one stage holds at once: the spectrum; the first convolution of the pre-encoder with its padded
    copy; the inside of a feed-forward part; queries, keys, values, scores and masks of attention; the scores of CTC.
    """
    encoder, features = config.encoder, config.features
    bins, first_bands = features.n_fft // 2 + 1, _bands(encoder)[1]
    inputs = SUBSAMPLING * encoder.mels * _FLOAT_BYTES
    spectrum = SUBSAMPLING * 3 * bins * _COMPLEX_BYTES + 2 * inputs
    convolution = SUBSAMPLING // 2 * (2 * first_bands + 3) * encoder.pre_encode_channels * _FLOAT_BYTES + 3 * inputs
    feed_forward = (2 * encoder.feed_forward + 4 * encoder.width) * _FLOAT_BYTES + inputs
    scores = 0 if config.transducer else (2 * (config.vocabulary + 1) + 4 * encoder.width) * _FLOAT_BYTES
    by_frame = rows * (frames + 1) * max(spectrum, convolution, feed_forward, scores)
    return max(by_frame, rows * (frames + 1) * inputs + _attention_bytes(encoder, rows, frames))


def longest_s(config: ModelConfig) -> float:
    """Return the whole seconds of the longest recording that takes no more than RECORDING_BYTES."""
    shortest, longest = 1, RECORDING_BYTES
    while shortest < longest:
        middle = (shortest + longest + 1) // 2
        if batch_bytes(config, 1, middle) <= RECORDING_BYTES:
            shortest = middle
        else:
            longest = middle - 1
    return float(int((shortest - 1) * config.frame_s))


def groups(config: ModelConfig, samples: Sequence[int]) -> list[list[int]]:
    """Return the indices of recordings of so many samples in groups of similar length, the longest first.

    A group takes no more than BATCH_BYTES, unless it is one recording.
    """
    frames = [count // (SUBSAMPLING * config.features.hop_samples) + 1 for count in samples]
    found: list[list[int]] = []
    for index in sorted(range(len(samples)), key=lambda index: -samples[index]):
        if found and batch_bytes(config, len(found[-1]) + 1, frames[found[-1][0]]) <= BATCH_BYTES:
            found[-1].append(index)
        else:
            found.append([index])
    return found


def _bands(encoder: EncoderConfig) -> list[int]:
    """Return the frequency bands before the pre-encoder and after each of its convolutions of stride 2."""
    bands = [encoder.mels]
    for _ in range(_PRE_ENCODER_STAGES):
        bands.append(bands[-1] // 2 + 1 if encoder.pre_encode_causal else (bands[-1] + 1) // 2)
    return bands


def _attention_bytes(encoder: EncoderConfig, rows: int, frames: int) -> int:
    queries = min(QUERY_BLOCK_FRAMES, frames)
    keys = _keys(encoder.contexts[0], queries, frames)
    values = 8 * rows * frames * encoder.width
    scores = rows * encoder.heads * queries * (2 * (queries + keys) + keys)
    masks = rows * frames * keys
    positions = 3 * 2 * frames * encoder.width
    return (values + scores + masks + positions) * _FLOAT_BYTES


def _keys(context: AttentionContext, queries: int, frames: int) -> int:
    """Return how many keys some query of a block may see."""
    left = frames if context.left is None else context.left
    right = frames if context.right is None else context.right
    return min(frames, left + queries + right)
