"""What a FastConformer model is, as frozen classes of exactly the options that this runtime understands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["transducer", "ctc", "hybrid"]

SUBSAMPLING = 8


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """Log-mel features: `mels` of them every `hop_samples`, from windows of `window_samples` in `n_fft` points.

    `preemphasis` None leaves the audio as it is; `log_guard` is added before the logarithm; `per_feature` normalises
    each mel band by its mean and deviation over the whole recording.
    """

    sample_rate: int
    window_samples: int
    hop_samples: int
    n_fft: int
    mels: int
    preemphasis: float | None
    log_guard: float
    per_feature: bool


@dataclass(frozen=True, slots=True)
class AttentionContext:
    """How many encoder frames a frame sees to its `left` and `right`, None for all there are.

    When `chunked`, the frames of one chunk of `right + 1` see each other and the `left // (right + 1)` chunks before.
    """

    left: int | None = None
    right: int | None = None
    chunked: bool = False


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """The encoder; `contexts` are the attention contexts it was trained for, the first its default.

    `conv_left` and `conv_right` are the frames that the convolution of a layer sees beyond its own.
    """

    mels: int
    layers: int
    width: int
    heads: int
    feed_forward: int
    pre_encode_channels: int
    pre_encode_causal: bool
    conv_left: int
    conv_right: int
    conv_norm: Literal["batch_norm", "layer_norm"]
    biases: bool
    scale_input: bool
    contexts: tuple[AttentionContext, ...]


@dataclass(frozen=True, slots=True)
class TransducerConfig:
    """The prediction and joint networks; `durations` is empty for RNN-T and holds TDT's jumps in encoder frames.

    `joint_output` is the index of the output layer within `joint.joint_net`; `max_symbols` bounds what one frame emits.
    """

    hidden: int
    rnn_layers: int
    joint_hidden: int
    activation: Literal["relu", "tanh", "sigmoid"]
    joint_output: int
    durations: tuple[int, ...]
    max_symbols: int


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A whole model; `vocabulary` counts the tokens and is the blank's index; `tokenizer` is the name of its file."""

    family: Family
    features: FeatureConfig
    encoder: EncoderConfig
    transducer: TransducerConfig | None
    vocabulary: int
    tokenizer: str

    @property
    def frame_s(self) -> float:
        """Seconds from one encoder frame to the next."""
        return SUBSAMPLING * self.features.hop_samples / self.features.sample_rate
