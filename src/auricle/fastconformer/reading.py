"""A model's configuration read from what NeMo writes.

An option that could change what the model computes and is not understood is refused by name; options of training,
logging and data loading are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping

from auricle.errors import UnsupportedError
from auricle.fastconformer.config import (
    SUBSAMPLING,
    AttentionContext,
    EncoderConfig,
    Family,
    FeatureConfig,
    ModelConfig,
    PromptConfig,
    TransducerConfig,
)
from auricle.fastconformer.options import REMEDY, Section

_CLASSES: dict[str, Family] = {
    "nemo.collections.asr.models.rnnt_bpe_models.EncDecRNNTBPEModel": "transducer",
    "nemo.collections.asr.models.ctc_bpe_models.EncDecCTCModelBPE": "ctc",
    "nemo.collections.asr.models.hybrid_rnnt_ctc_bpe_models.EncDecHybridRNNTCTCBPEModel": "hybrid",
    "nemo.collections.asr.models.rnnt_bpe_models_prompt.EncDecRNNTBPEModelWithPrompt": "transducer",
    "nemo.collections.asr.models.hybrid_rnnt_ctc_bpe_models_prompt.EncDecHybridRNNTCTCBPEModelWithPrompt": "hybrid",
}
_WITH_PROMPT = "WithPrompt"
AUTO = "auto"
"""What a dictionary of prompts calls the one by which the model tells the language itself."""

_MODULES = "nemo.collections.asr.modules."
_TRAINING = (
    "sample_rate", "compute_eval_loss", "log_prediction", "skip_nan_grad", "rnnt_reduction", "ctc_reduction",
    "model_defaults", "train_ds", "validation_ds", "test_ds", "spec_augment", "variational_noise", "loss", "interctc",
    "optim", "labels", "nemo_version", "use_cer", "name", "init_from_nemo_model", "init_from_pretrained_model",
    "init_from_ptl_ckpt",
)  # fmt: skip


def parse_config(values: Mapping[str, object]) -> ModelConfig:
    """Read the configuration of an archive.

    Raises UnsupportedError naming the first option that this runtime does not know or cannot honour, and ModelError
    naming one that is missing or malformed.
    """
    top = Section(values, "")
    top.ignore(*_TRAINING)
    target: str = top.choice("target", tuple(_CLASSES))
    family = _CLASSES[target]
    features = _features(top.section("preprocessor"))
    encoder = _encoder(top.section("encoder"), features.mels)
    if family == "ctc":
        transducer = None
        vocabulary = _ctc(top.section("decoder"), encoder.width)
        _ctc_decoding(top)
    else:
        transducer, vocabulary = _transducer(top, encoder.width)
    if family == "hybrid":
        aux = top.section("aux_ctc")
        aux.ignore("ctc_loss_weight", "use_cer", "ctc_reduction")
        if _ctc(aux.section("decoder"), encoder.width) != vocabulary:
            raise UnsupportedError(
                "the CTC head and the joint network differ in their vocabularies", "aux_ctc.decoder.num_classes", REMEDY
            )
        _ctc_decoding(aux)
        aux.finish()
    prompts = _prompts(top, encoder.width) if target.endswith(_WITH_PROMPT) else None
    tokenizer = _tokenizer(top.section("tokenizer"))
    top.finish()
    return ModelConfig(family, features, encoder, transducer, vocabulary, tokenizer, prompts)


def _features(section: Section) -> FeatureConfig:
    section.choice("_target_", (_MODULES + "AudioToMelSpectrogramPreprocessor",))
    section.choice("log", (True,), default=True)
    section.choice("log_zero_guard_type", ("add",), default="add")
    section.choice("frame_splicing", (1,), default=1)
    section.choice("exact_pad", (False,), default=False)
    section.choice("mag_power", (2.0,), default=2.0)
    # The window and the mel filters are read from the weights; padding never reaches a valid frame.
    section.ignore(
        "window", "lowfreq", "highfreq", "mel_norm", "dither", "pad_to", "pad_value", "rng", "use_torchaudio"
    )
    section.ignore("nb_augmentation_prob", "nb_max_freq", "stft_exact_pad", "stft_conv", "max_duration")
    rate = section.integer("sample_rate", 16_000, most=192_000)
    window_samples = int(section.number("window_size", 0.02) * rate)
    config = FeatureConfig(
        sample_rate=rate,
        window_samples=window_samples,
        hop_samples=int(section.number("window_stride", 0.01) * rate),
        n_fft=section.integer("n_fft", 1 << (window_samples - 1).bit_length(), most=65_536),
        mels=section.integer("features", 64, most=1024),
        preemphasis=None if section.is_null("preemph") else section.number("preemph", 0.97),
        log_guard=section.number("log_zero_guard_value", 2.0**-24),
        per_feature=section.choice("normalize", ("per_feature", "NA", "None", ""), default="NA") == "per_feature",
    )
    section.finish()
    return config


def _encoder(section: Section, mels: int) -> EncoderConfig:
    section.choice("_target_", (_MODULES + "ConformerEncoder",))
    section.choice("feat_in", (mels,))
    section.choice("subsampling", ("dw_striding",))
    section.choice("subsampling_factor", (SUBSAMPLING,))
    section.choice("reduction", (None,))
    section.choice("untie_biases", (True,), default=True)
    section.choice("conv_context_style", ("regular",), default="regular")
    section.choice("att_chunk_context_size", (None,))
    section.choice("global_tokens", (0,), default=0)
    # How NeMo trains the model, or splits its work, without changing what it computes.
    section.ignore("reduction_position", "reduction_factor", "pos_emb_max_len", "att_context_probs")
    section.ignore("dropout", "dropout_pre_encoder", "dropout_emb", "dropout_att", "subsampling_conv_chunking_factor")
    section.ignore("stochastic_depth_drop_prob", "stochastic_depth_mode", "stochastic_depth_start_layer")
    section.ignore("global_tokens_spacing", "global_attn_separate", "sync_max_audio_length")
    section.ignore("use_pytorch_sdpa", "use_pytorch_sdpa_backends")
    width = section.integer("d_model", most=16_384)
    heads = section.integer("n_heads", 4, most=256)
    section.choice("feat_out", (-1, width), default=-1)
    if width % (2 * heads):
        raise section.unsupported("n_heads", heads)
    conv_left, conv_right = _conv_context(section)
    channels = section.integer("subsampling_conv_channels", -1, least=-1)
    config = EncoderConfig(
        mels=mels,
        layers=section.integer("n_layers", most=1000),
        width=width,
        heads=heads,
        feed_forward=width * section.integer("ff_expansion_factor", 4, most=64),
        pre_encode_channels=width if channels < 1 else channels,
        pre_encode_causal=section.boolean("causal_downsampling", False),
        conv_left=conv_left,
        conv_right=conv_right,
        conv_norm=section.choice("conv_norm_type", ("batch_norm", "layer_norm"), default="batch_norm"),
        biases=section.boolean("use_bias", True),
        scale_input=section.boolean("xscaling", True),
        contexts=_contexts(section),
    )
    section.finish()
    return config


def _conv_context(section: Section) -> tuple[int, int]:
    kernel = section.integer("conv_kernel_size", 31, most=1001)
    value = section.raw("conv_context_size")
    if kernel % 2 == 0:
        raise section.unsupported("conv_kernel_size", kernel)
    if value == "causal":
        return kernel - 1, 0
    left, right = _pair((kernel // 2, kernel // 2) if value is None else value, section, "conv_context_size")
    if min(left, right) < 0 or left + right + 1 != kernel:
        raise section.unsupported("conv_context_size", value)
    return left, right


def _contexts(section: Section) -> tuple[AttentionContext, ...]:
    style = section.choice("att_context_style", ("regular", "chunked_limited"), default="regular")
    local = section.choice("self_attention_model", ("rel_pos", "rel_pos_local_attn"), default="rel_pos") != "rel_pos"
    value = section.raw("att_context_size") or [-1, -1]
    several = isinstance(value, list | tuple) and isinstance(value[0], list | tuple)
    contexts = []
    for one in value if several else [value]:
        left, right = _pair(one, section, "att_context_size")
        chunked = style == "chunked_limited" and not local
        uneven = chunked and (right < 0 or (left > 0 and left % (right + 1)))
        # NeMo adds the positional scores of an asymmetric local window to the wrong keys.
        if min(left, right) < -1 or uneven or (local and (left != right or left < 1)):
            raise section.unsupported("att_context_size", one)
        contexts.append(AttentionContext(None if left < 0 else left, None if right < 0 else right, chunked))
    return tuple(contexts)


def _pair(value: object, section: Section, key: str) -> tuple[int, int]:
    match value:
        case [int() as left, int() as right]:
            return left, right
        case _:
            raise section.unsupported(key, value)


def _transducer(top: Section, width: int) -> tuple[TransducerConfig, int]:
    decoder, joint = top.section("decoder"), top.section("joint")
    decoder.choice("_target_", (_MODULES + "RNNTDecoder",))
    decoder.choice("normalization_mode", (None,))
    decoder.choice("blank_as_pad", (True,), default=True)
    decoder.ignore("random_state_sampling")
    vocabulary = decoder.integer("vocab_size")
    network = decoder.section("prednet")
    network.choice("rnn_hidden_size", (-1,), default=-1)
    network.ignore("t_max", "dropout", "forget_gate_bias", "weights_init_scale", "hidden_hidden_bias_scale")
    hidden = network.integer("pred_hidden", most=16_384)
    rnn_layers = network.integer("pred_rnn_layers", most=100)
    joint.choice("_target_", (_MODULES + "RNNTJoint",))
    joint.choice("num_classes", (vocabulary,), default=vocabulary)
    joint.ignore("log_softmax", "preserve_memory", "fuse_loss_wer", "fused_batch_size", "vocabulary", "masking_prob")
    net = joint.section("jointnet")
    net.choice("encoder_hidden", (width,))
    net.choice("pred_hidden", (hidden,))
    durations, max_symbols = _greedy(top.section("decoding"))
    joint.choice("num_extra_outputs", (len(durations),), default=0)
    config = TransducerConfig(
        hidden=hidden,
        rnn_layers=rnn_layers,
        joint_hidden=net.integer("joint_hidden", most=16_384),
        activation=net.choice("activation", ("relu", "tanh", "sigmoid")),
        joint_output=2 if net.raw("dropout") else 1,
        durations=durations,
        max_symbols=max_symbols,
    )
    for section in (network, net, decoder, joint):
        section.finish()
    return config, vocabulary


def _greedy(section: Section) -> tuple[tuple[int, ...], int]:
    """Return TDT's durations, none for RNN-T, and the most symbols that one frame may emit.

    Other options of this section are of beams and of what NeMo reports.
    """
    section.choice("strategy", ("greedy", "greedy_batch"), default="greedy_batch")
    durations = section.raw("durations") or []
    if not isinstance(durations, list) or not all(isinstance(one, int) and one >= 0 for one in durations):
        raise section.unsupported("durations", durations)
    section.choice("model_type", ("tdt",) if durations else ("rnnt",), default=None if durations else "rnnt")
    greedy = section.section("greedy")
    greedy.choice("ngram_lm_model", (None,))
    greedy.choice("boosting_tree_alpha", (0.0,), default=0.0)
    key = "max_symbols" if greedy.has("max_symbols") else "max_symbols_per_step"
    return tuple(durations), greedy.integer(key, most=1000)


def _prompts(top: Section, width: int) -> PromptConfig | None:
    """Return how the model is told the language; its other defaults are of training, or told again where they count."""
    top.ignore("subsampling_factor")
    defaults = top.section("model_defaults")
    count = top.integer("num_prompts", defaults.integer("num_prompts", 128, most=10_000), most=10_000)
    if not defaults.boolean("initialize_prompt_feature", default=False):
        return None
    defaults.choice("enc_hidden", (width,))
    languages = prompt_languages(defaults, "prompt_dictionary", count)
    return PromptConfig(count, 2 * width, languages, dict(languages).get(AUTO))


def prompt_languages(section: Section, key: str, count: int) -> tuple[tuple[str, int], ...]:
    """Return the pairs of a dictionary from languages to their prompts, of which there are `count`."""
    table = section.raw(key)
    if not isinstance(table, Mapping) or not table:
        raise section.unsupported(key, table)
    # YAML takes the code of Norwegian for a falsehood.
    named = {"no" if name is False else name: prompt for name, prompt in table.items()}
    for name, prompt in named.items():
        if not isinstance(name, str) or type(prompt) is not int or not 0 <= prompt < count:
            raise section.unsupported(f"{key}.{name}", prompt)
    return tuple(sorted(named.items()))


def _ctc(section: Section, width: int) -> int:
    """Return how many tokens the CTC head knows, without the blank."""
    section.choice("_target_", (_MODULES + "ConvASRDecoder",))
    section.choice("feat_in", (width, None))
    section.choice("add_blank", (True,), default=True)
    section.ignore("vocabulary", "init_mode")
    names = section.raw("vocabulary")
    vocabulary = section.integer("num_classes", least=-1)
    section.finish()
    if vocabulary > 0:
        return vocabulary
    if not isinstance(names, list) or not names:
        raise section.unsupported("num_classes", vocabulary)
    return len(names)


def _ctc_decoding(section: Section) -> None:
    if section.has("decoding"):
        section.section("decoding").choice("strategy", ("greedy", "greedy_batch"), default="greedy")
    section.ignore("decoding")


def _tokenizer(section: Section) -> str:
    """Return the name of the archive's member that holds the SentencePiece model."""
    section.choice("type", ("bpe",))
    section.ignore("dir", "vocab_path", "spe_tokenizer_vocab", "hf_kwargs", "custom_tokenizer")
    name = section.raw("model_path")
    section.finish()
    if not isinstance(name, str) or not name.startswith("nemo:"):
        raise section.unsupported("model_path", name)
    return name.removeprefix("nemo:")
