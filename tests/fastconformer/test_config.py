"""Every option is understood, known not to matter, or refused by its full name."""

from __future__ import annotations

from typing import Any

import pytest

from auricle.errors import AuricleError, ModelError, UnsupportedError
from auricle.fastconformer.config import AttentionContext
from auricle.fastconformer.reading import parse_config
from tests.fastconformer.checkpoints import MODELS, config


def changed(name: str, path: str, value: object) -> dict[str, Any]:
    values = config(name)
    section = values
    *steps, last = path.split(".")
    for step in steps:
        section = section[step]
    section[last] = value
    return values


UNSUPPORTED = [
    ("rnnt", "encoder.new_trick", 1),
    ("rnnt", "new_section", {"a": 1}),
    ("rnnt", "preprocessor.normalize", "all_features"),
    ("rnnt", "preprocessor.frame_splicing", 3),
    ("rnnt", "preprocessor.log_zero_guard_type", "clamp"),
    ("rnnt", "preprocessor.mag_power", 1.0),
    ("rnnt", "preprocessor.exact_pad", True),
    ("rnnt", "preprocessor._target_", "nemo.collections.asr.modules.AudioToMFCCPreprocessor"),
    ("rnnt", "encoder._target_", "nemo.collections.asr.modules.SqueezeformerEncoder"),
    ("rnnt", "encoder.subsampling", "striding"),
    ("rnnt", "encoder.subsampling_factor", 4),
    ("rnnt", "encoder.self_attention_model", "abs_pos"),
    ("rnnt", "encoder.untie_biases", False),
    ("rnnt", "encoder.reduction", "pooling"),
    ("rnnt", "encoder.feat_out", 64),
    ("rnnt", "encoder.feat_in", 64),
    ("rnnt", "encoder.n_heads", 3),
    ("rnnt", "encoder.conv_norm_type", "group_norm8"),
    ("rnnt", "encoder.conv_kernel_size", 8),
    ("rnnt", "encoder.conv_context_size", [4, 3]),
    ("rnnt", "encoder.conv_context_style", "dcc"),
    ("rnnt", "encoder.global_tokens", 1),
    ("rnnt", "encoder.att_context_style", "chunked_limited_with_rc"),
    ("rnnt_stream", "encoder.att_context_size", [[70, 12]]),
    ("rnnt_stream", "encoder.att_context_size", [[70, -1]]),
    ("rnnt", "encoder.att_context_size", [70]),
    ("rnnt", "encoder.att_context_size", [-2, 3]),
    ("ctc_local", "encoder.att_context_size", [9, 3]),
    ("ctc_local", "encoder.att_context_size", [0, 0]),
    ("rnnt", "decoder._target_", "nemo.collections.asr.modules.StatelessTransducerDecoder"),
    ("rnnt", "decoder.blank_as_pad", False),
    ("rnnt", "decoder.normalization_mode", "layer"),
    ("rnnt", "decoder.prednet.rnn_hidden_size", 64),
    ("rnnt", "joint.jointnet.activation", "swish"),
    ("rnnt", "joint.num_extra_outputs", 3),
    ("rnnt", "decoding.strategy", "beam"),
    ("rnnt", "decoding.greedy.ngram_lm_model", "lm.arpa"),
    ("rnnt", "decoding.model_type", "tdt"),
    ("tdt", "decoding.durations", [0, -1, 2, 3, 4]),
    ("tdt", "decoding.model_type", "rnnt"),
    ("hybrid_tdt", "aux_ctc.new_trick", 1),
    ("hybrid_tdt", "aux_ctc.decoder.num_classes", 12),
    ("ctc", "decoding.strategy", "beam"),
    ("rnnt", "tokenizer.type", "wpe"),
    ("rnnt", "tokenizer.model_path", "/etc/passwd"),
]
MALFORMED = [
    ("rnnt", "encoder", None),
    ("rnnt", "encoder", [1]),
    ("rnnt", "encoder.d_model", None),
    ("rnnt", "encoder.d_model", "32"),
    ("rnnt", "encoder.n_layers", 0),
    ("rnnt", "encoder.n_layers", True),
    ("rnnt", "encoder.use_bias", 1),
    ("rnnt", "preprocessor.window_size", -0.02),
    ("rnnt", "preprocessor.window_stride", float("nan")),
    ("rnnt", "decoding.greedy.max_symbols", None),
    ("rnnt", "decoder.prednet.pred_hidden", 10**9),
]


def test_every_model_of_the_fixtures_is_understood() -> None:
    for name in MODELS:
        assert parse_config(config(name)).vocabulary == 40


@pytest.mark.parametrize(("name", "path", "value"), UNSUPPORTED)
def test_an_option_that_cannot_be_honoured_is_named(name: str, path: str, value: object) -> None:
    with pytest.raises(UnsupportedError) as caught:
        parse_config(changed(name, path, value))
    assert path in str(caught.value)
    assert caught.value.remedy


def test_durations_that_the_joint_network_has_no_outputs_for_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"joint\.num_extra_outputs = 5"):
        parse_config(changed("tdt", "decoding.durations", [0, 1, 2]))


@pytest.mark.parametrize(("name", "path", "value"), MALFORMED)
def test_a_malformed_option_is_named(name: str, path: str, value: object) -> None:
    with pytest.raises(ModelError) as caught:
        parse_config(changed(name, path, value))
    assert path.removesuffix("max_symbols") in str(caught.value)
    assert caught.value.remedy


def test_options_of_training_do_not_matter() -> None:
    values = config("rnnt")
    plain = parse_config(values)
    assert parse_config(values | {"optim": {"name": "adamw"}, "train_ds": {"a": 1}, "spec_augment": {}}) == plain
    assert parse_config(changed("rnnt", "encoder.dropout", 0.7)) == plain


def test_contexts_are_read_in_the_order_of_the_file() -> None:
    assert parse_config(config("rnnt_stream")).encoder.contexts == (
        AttentionContext(56, 13, chunked=True),
        AttentionContext(56, 6, chunked=True),
        AttentionContext(28, 1, chunked=True),
        AttentionContext(10, 0, chunked=True),
    )
    assert parse_config(config("rnnt")).encoder.contexts == (AttentionContext(),)
    assert parse_config(config("ctc_local")).encoder.contexts == (AttentionContext(9, 9),)
    assert parse_config(config("hybrid_stream")).encoder.contexts[0] == AttentionContext(None, 3, chunked=True)


def test_a_frame_lasts_eighty_milliseconds() -> None:
    assert parse_config(config("rnnt")).frame_s == pytest.approx(0.08)


@pytest.mark.parametrize("value", [None, [], {}, 1, "x", -1, 1e300, [[1, 2], 3], {"a": 1}])
def test_no_value_anywhere_raises_anything_but_our_errors(value: object) -> None:
    def paths(section: dict[str, Any], prefix: str) -> list[str]:
        inner = [paths(one, f"{prefix}{key}.") for key, one in section.items() if isinstance(one, dict)]
        return [f"{prefix}{key}" for key in section] + [path for one in inner for path in one]

    for name in ("rnnt_stream", "hybrid_tdt"):
        for path in paths(config(name), ""):
            try:
                parse_config(changed(name, path, value))
            except AuricleError as error:
                assert error.remedy  # noqa: PT017  # many options do not matter
