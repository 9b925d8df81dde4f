"""What a model takes in memory, from its configuration alone: a live stream's slot, and a batch of recordings.

A slot is exact: it is what the live state allocates. A batch is a bound, which `measure` holds to what is really there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.fastconformer.config import SUBSAMPLING, AttentionContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.config import EncoderConfig, ModelConfig, PromptConfig
    from auricle.fastconformer.streaming.latency import LatencyClass

QUERY_BLOCK_FRAMES = 256
"""Attention takes so many frames at once, so that scores do not grow with the square of the length."""

BATCH_BYTES = 256 << 20
"""What the tensors of recordings that are computed together may take."""

RECORDING_BYTES = 2 << 30
"""What the tensors of one recording, computed alone, may take."""

STATE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 4}
"""What a number that the encoder keeps of a live stream takes at each precision."""

LARGEST_LAG_FRAMES = 100
"""A hypothesis that is so far behind the foremost of its beam is given up, so that few frames need to be kept."""

HYPOTHESIS_BYTES = 52
"""A score, and six whole numbers."""

_PRE_ENCODER_FRAMES = 256
_LEAST_PRE_ENCODER_FRAMES = 32
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


def beam_bytes(config: ModelConfig, beam: int, number_bytes: int) -> int:
    """Return what a live stream keeps at most for a beam of hypotheses, beyond what it keeps for one."""
    transducer = config.transducer
    if beam == 1 or transducer is None:
        return 0
    predictor = transducer.rnn_layers * 2 * transducer.hidden + transducer.joint_hidden
    values = (beam - 1) * predictor + LARGEST_LAG_FRAMES * transducer.joint_hidden
    return values * number_bytes + beam * HYPOTHESIS_BYTES


def slot_bytes(config: ModelConfig, latency: LatencyClass, precision: str = "fp32") -> int:
    """Return what a live stream of a latency class takes at a precision, decoded by the model's own decoder."""
    values = slot_values(config, latency)
    return STATE_BYTES[precision] * (values.total - values.predictor) + _FLOAT_BYTES * values.predictor


def batch_bytes(config: ModelConfig, rows: int, frames: int, precision: str = "fp32") -> int:
    """Return a bound on the bytes of all tensors while `rows` recordings of `frames` encoder frames are recognised.

    The largest of what one stage holds at once: the spectrum; the first convolution of the pre-encoder with its padded
    copy; the inside of a feed-forward part, with a rounded copy for int8; queries, keys, values, scores and masks of
    attention; the scores of CTC. Numbers of sixteen bits are counted as of thirty-two.
    """
    encoder, features = config.encoder, config.features
    bins, first_bands = features.n_fft // 2 + 1, _bands(encoder)[1]
    inputs = SUBSAMPLING * encoder.mels * _FLOAT_BYTES
    spectrum = SUBSAMPLING * 3 * bins * _COMPLEX_BYTES + 2 * inputs
    convolution = SUBSAMPLING // 2 * (2 * first_bands + 3) * encoder.pre_encode_channels * _FLOAT_BYTES + 2 * inputs
    at_once = min(frames, pre_encoder_frames(rows)) + 1
    pre_encoder = rows * (at_once * convolution + (frames + 1) * (inputs + 2 * encoder.width * _FLOAT_BYTES))
    feed_forward = (2 * encoder.feed_forward + 4 * encoder.width) * _FLOAT_BYTES + inputs
    feed_forward += encoder.feed_forward if precision == "int8" else 0
    scores = 0 if config.transducer else (2 * (config.vocabulary + 1) + 4 * encoder.width) * _FLOAT_BYTES
    prompted = 0 if config.prompts is None else _prompted(config.prompts, encoder.width) + inputs
    by_frame = rows * (frames + 1) * max(spectrum, feed_forward, scores, prompted)
    return max(by_frame, pre_encoder, rows * (frames + 1) * inputs + _attention_bytes(encoder, rows, frames))


def pre_encoder_frames(rows: int) -> int:
    """Return how many encoder frames of each of so many recordings the pre-encoder makes at once."""
    return max(_LEAST_PRE_ENCODER_FRAMES, _PRE_ENCODER_FRAMES // rows)


def longest_s(config: ModelConfig, precision: str = "fp32") -> float:
    """Return the whole seconds of the longest recording that takes no more than RECORDING_BYTES."""
    shortest, longest = 1, RECORDING_BYTES
    while shortest < longest:
        middle = (shortest + longest + 1) // 2
        if batch_bytes(config, 1, middle, precision) <= RECORDING_BYTES:
            shortest = middle
        else:
            longest = middle - 1
    return float(int((shortest - 1) * config.frame_s))


def groups(config: ModelConfig, samples: Sequence[int], precision: str = "fp32") -> list[list[int]]:
    """Return the indices of recordings of so many samples in groups of similar length, the longest first.

    A group takes no more than BATCH_BYTES, unless it is one recording.
    """
    frames = [count // (SUBSAMPLING * config.features.hop_samples) + 1 for count in samples]
    found: list[list[int]] = []
    for index in sorted(range(len(samples)), key=lambda index: -samples[index]):
        if found and batch_bytes(config, len(found[-1]) + 1, frames[found[-1][0]], precision) <= BATCH_BYTES:
            found[-1].append(index)
        else:
            found.append([index])
    return found


def _prompted(prompts: PromptConfig, width: int) -> int:
    """Return the bytes of one frame with its prompt beside it, and of the layers after that."""
    return (3 * width + 2 * prompts.count + 2 * prompts.hidden) * _FLOAT_BYTES


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
    # One recording that sees all of itself has nothing to hide.
    masks = 0 if rows == 1 and encoder.contexts[0] == AttentionContext() else rows * frames * keys
    positions = 3 * min(2 * frames, queries + keys) * encoder.width
    return (values + scores + masks + positions) * _FLOAT_BYTES


def _keys(context: AttentionContext, queries: int, frames: int) -> int:
    """Return how many keys some query of a block may see."""
    left = frames if context.left is None else context.left
    right = frames if context.right is None else context.right
    return min(frames, left + queries + right)
