"""A model's configuration read from what transformers 5 writes: `config.json` and that of the processor.

As with NeMo's, an option that could change what the model computes and is not understood is refused by name. What the
classes of transformers fix in code (which norm, which padding, whether features are normalised) comes from the class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auricle.fastconformer.config import (
    SUBSAMPLING,
    AttentionContext,
    EncoderConfig,
    FeatureConfig,
    ModelConfig,
    PromptConfig,
    TransducerConfig,
)
from auricle.fastconformer.huggingface.names import JOINT_OUTPUT
from auricle.fastconformer.options import Section
from auricle.fastconformer.reading import prompt_languages

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKENIZER_FILE = "tokenizer.json"
LOG_GUARD = 2.0**-24
"""What both feature extractors of transformers add before the logarithm."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of transformers: its decoder, whether it is of the family that streams, and whether it has prompts."""

    architecture: str
    streaming: bool = False
    transducer: bool = True
    durations: bool = False
    prompts: bool = False


KINDS = {
    "parakeet_ctc": Kind("ParakeetForCTC", transducer=False),
    "parakeet_rnnt": Kind("ParakeetForRNNT"),
    "parakeet_tdt": Kind("ParakeetForTDT", durations=True),
    "nemotron_asr_streaming": Kind("NemotronAsrStreamingForRNNT", streaming=True),
    "nemotron3_5_asr": Kind("Nemotron3_5AsrForRNNT", streaming=True, prompts=True),
}
"""What this runtime reads, by `model_type`."""

_OF_EVERY_CONFIG = (
    "model_type", "architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path", "initializer_range",
    "pad_token_id", "bos_token_id", "eos_token_id", "is_encoder_decoder", "tie_word_embeddings", "return_dict",
    "output_attentions", "output_hidden_states", "id2label", "label2id", "problem_type", "use_cache",
    "chunk_size_feed_forward",
)  # fmt: skip
_OF_TRAINING = (
    "dropout", "dropout_positions", "layerdrop", "activation_dropout", "attention_dropout", "max_position_embeddings",
)  # fmt: skip
_LOOKAHEADS = [13, 6, 1, 0]
"""Those of a streaming model whose processor names none, as transformers has it."""


def kind_of(values: Mapping[str, Any]) -> Kind:
    """Return the class that a `config.json` is of; raises UnsupportedError naming another `model_type`."""
    return KINDS[Section(values, "").choice("model_type", tuple(KINDS))]


def parse_config(values: Mapping[str, Any], processor: Mapping[str, Any]) -> ModelConfig:
    """Read `config.json` and the processor's configuration, which holds the feature extractor's.

    Raises UnsupportedError naming the first option that this runtime does not know or cannot honour, and ModelError
    naming one that is missing or malformed.
    """
    kind = kind_of(values)
    top = Section(values, "")
    vocabulary = top.integer("vocab_size", least=2) - 1
    transducer = None
    if kind.transducer:
        top.choice("blank_token_id", (vocabulary,))
        transducer = _transducer(top, kind, vocabulary)
    else:
        top.choice("pad_token_id", (vocabulary,))
        top.ignore("ctc_loss_reduction", "ctc_zero_infinity")
    top.ignore(*_OF_EVERY_CONFIG)
    encoder, processing = top.section("encoder_config"), Section(processor, "processor_config")
    contexts = _contexts(encoder, processing) if kind.streaming else (AttentionContext(),)
    config = ModelConfig(
        family="transducer" if kind.transducer else "ctc",
        features=_features(processing.section("feature_extractor"), kind),
        encoder=_encoder(encoder, kind, contexts),
        transducer=transducer,
        vocabulary=vocabulary,
        tokenizer=TOKENIZER_FILE,
        prompts=_prompts(top, processing) if kind.prompts else None,
    )
    if config.features.mels != config.encoder.mels:
        raise encoder.unsupported("num_mel_bins", config.encoder.mels)
    top.finish()
    return config


def _transducer(top: Section, kind: Kind, blank: int) -> TransducerConfig:
    durations = top.raw("durations") if kind.durations else []
    # transformers takes the index of a duration for the duration.
    if not isinstance(durations, list) or durations != list(range(len(durations))) or kind.durations != bool(durations):
        raise top.unsupported("durations", durations)
    top.choice("decoder_start_token_id", (None, blank))
    hidden = top.integer("decoder_hidden_size", most=16_384)
    return TransducerConfig(
        hidden=hidden,
        rnn_layers=top.integer("num_decoder_layers", most=100),
        joint_hidden=hidden,
        activation=top.choice("hidden_act", ("relu", "tanh", "sigmoid"), default="relu"),
        joint_output=JOINT_OUTPUT,
        durations=tuple(durations),
        max_symbols=top.integer("max_symbols_per_step", 10, most=1000),
    )


def _prompts(top: Section, processor: Section) -> PromptConfig:
    count = top.integer("num_prompts", 128, most=10_000)
    processor.choice("num_prompts", (count,), default=count)
    hidden = top.integer("prompt_intermediate_size", 2048, most=1_000_000)
    default = top.integer("default_prompt_id", 101, least=0, most=count - 1)
    return PromptConfig(count, hidden, prompt_languages(processor, "prompt_dictionary", count), default)


def _features(section: Section, kind: Kind) -> FeatureConfig:
    name = "NemotronAsrStreamingFeatureExtractor" if kind.streaming else "ParakeetFeatureExtractor"
    section.choice("feature_extractor_type", (name,))
    section.choice("mel_filters_dtype", ("float32",), default="float32")
    section.ignore("padding_side", "padding_value", "return_attention_mask", "processor_class")
    n_fft = section.integer("n_fft", 512, most=65_536)
    config = FeatureConfig(
        sample_rate=section.integer("sampling_rate", 16_000, least=4_000, most=192_000),
        window_samples=section.integer("win_length", 400, most=n_fft),
        hop_samples=section.integer("hop_length", 160, most=65_536),
        n_fft=n_fft,
        mels=section.integer("feature_size", 80, most=1024),
        preemphasis=section.number("preemphasis", 0.97) if section.raw("preemphasis") != 0 else None,
        log_guard=LOG_GUARD,
        per_feature=not kind.streaming,
    )
    section.finish()
    return config


def _encoder(section: Section, kind: Kind, contexts: tuple[AttentionContext, ...]) -> EncoderConfig:
    section.choice("model_type", ("nemotron_asr_streaming_encoder" if kind.streaming else "parakeet_encoder",))
    section.choice("hidden_act", ("silu",), default="silu")
    section.choice("subsampling_factor", (SUBSAMPLING,), default=SUBSAMPLING)
    section.choice("subsampling_conv_kernel_size", (3,), default=3)
    section.choice("subsampling_conv_stride", (2,), default=2)
    section.ignore(*_OF_EVERY_CONFIG, *_OF_TRAINING)
    width = section.integer("hidden_size", most=16_384)
    heads = section.integer("num_attention_heads", most=256)
    if width % (2 * heads):
        raise section.unsupported("num_attention_heads", heads)
    section.choice("num_key_value_heads", (heads,), default=heads)
    section.choice("head_dim", (width // heads,), default=width // heads)
    kernel = section.integer("conv_kernel_size", 9, most=1001)
    if kernel % 2 == 0:
        raise section.unsupported("conv_kernel_size", kernel)
    biases = section.boolean("attention_bias", default=True)
    section.choice("convolution_bias", (biases,), default=True)
    config = EncoderConfig(
        mels=section.integer("num_mel_bins", 80, most=1024),
        layers=section.integer("num_hidden_layers", most=1000),
        width=width,
        heads=heads,
        feed_forward=section.integer("intermediate_size", most=1_000_000),
        pre_encode_channels=section.integer("subsampling_conv_channels", 256, most=16_384),
        pre_encode_causal=kind.streaming,
        conv_left=kernel - 1 if kind.streaming else kernel // 2,
        conv_right=0 if kind.streaming else kernel // 2,
        conv_norm="layer_norm" if kind.streaming else "batch_norm",
        biases=biases,
        scale_input=section.boolean("scale_input", default=True),
        contexts=contexts,
    )
    section.finish()
    return config


def _contexts(encoder: Section, processor: Section) -> tuple[AttentionContext, ...]:
    """Return the contexts of a streaming model: one left context, and the lookaheads that its processor names."""
    left = encoder.integer("sliding_window", 71) - 1
    default = encoder.integer("default_num_lookahead_tokens", 13, least=0)
    known = encoder.raw("supported_num_lookahead_tokens")
    known = processor.raw("supported_num_lookahead_tokens") or known or _LOOKAHEADS
    default = processor.integer("default_num_lookahead_tokens", default, least=0)
    if not isinstance(known, list) or not all(type(one) is int and one >= 0 for one in known):
        raise processor.unsupported("supported_num_lookahead_tokens", known)
    rights = list(dict.fromkeys([default, *known]))
    if any(left % (right + 1) for right in rights):
        raise encoder.unsupported("sliding_window", left + 1)
    return tuple(AttentionContext(left, right, chunked=True) for right in rights)
