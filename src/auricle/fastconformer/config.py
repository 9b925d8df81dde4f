"""What a FastConformer model is, as frozen classes of exactly the options that this runtime understands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from auricle.errors import UnsupportedError

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
class PromptConfig:
    """How a model is told the language: by one of `count` prompts, through a layer of `hidden` outputs.

    `languages` pairs the names of languages with their prompts; `default` is the prompt of a recording of which no
    language is told, None where one must be.
    """

    count: int
    hidden: int
    languages: tuple[tuple[str, int], ...]
    default: int | None

    def of(self, language: str | None) -> int:
        """Return the prompt of a language; raises UnsupportedError for one that the model has no prompt for."""
        known = dict(self.languages)
        prompt = self.default if language is None else known.get(language)
        if prompt is None:
            remedy = f"it knows {', '.join(known)}"
            raise UnsupportedError("the model must be told a language that it knows", language, remedy)
        return prompt


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A whole model; `vocabulary` counts the tokens and is the blank's index; `tokenizer` is the name of its file.

    `prompts` is None for a model that is told nothing.
    """

    family: Family
    features: FeatureConfig
    encoder: EncoderConfig
    transducer: TransducerConfig | None
    vocabulary: int
    tokenizer: str
    prompts: PromptConfig | None = None

    @property
    def frame_s(self) -> float:
        """Seconds from one encoder frame to the next."""
        return SUBSAMPLING * self.features.hop_samples / self.features.sample_rate

    def prompt(self, language: str | None) -> int:
        """Return the prompt of a language, 0 for a model that is told nothing; raises UnsupportedError."""
        if self.prompts is not None:
            return self.prompts.of(language)
        if language is not None:
            raise UnsupportedError("the model is told no language", language, "leave it out")
        return 0

    def attending(self, frames: int) -> ModelConfig:
        """Return the same model with attention to so many frames on each side; raises UnsupportedError.

        One that was trained with chunks keeps to them.
        """
        if frames < 1 or any(context.chunked for context in self.encoder.contexts):
            raise UnsupportedError("this model cannot have local attention of", f"{frames} frames", "leave it out")
        return replace(self, encoder=replace(self.encoder, contexts=(AttentionContext(frames, frames),)))
