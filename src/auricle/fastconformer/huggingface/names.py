"""The key map: what transformers calls the weights that this runtime knows by NeMo's names.

Each pair is a part of a key in NeMo's checkpoints and in transformers'; no key holds two of them, and a key that holds
none is the same in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

JOINT_OUTPUT = 2
"""The index within `joint.joint_net` that the key map gives the output layer, behind an activation and a dropout."""

_Pairs = tuple[tuple[str, str], ...]

_SHARED: _Pairs = (
    ("encoder.pre_encode.out.", "encoder.subsampling.linear."),
    (".conv.batch_norm.", ".conv.norm."),
    (".self_attn.linear_q.", ".self_attn.q_proj."),
    (".self_attn.linear_k.", ".self_attn.k_proj."),
    (".self_attn.linear_v.", ".self_attn.v_proj."),
    (".self_attn.linear_out.", ".self_attn.o_proj."),
    (".self_attn.linear_pos.", ".self_attn.relative_k_proj."),
    (".self_attn.pos_bias_", ".self_attn.bias_"),
    ("decoder.decoder_layers.0.", "ctc_head."),
    ("decoder.prediction.embed.", "decoder.embedding."),
    ("decoder.prediction.dec_rnn.lstm.", "decoder.lstm."),
    ("joint.enc.", "encoder_projector."),
    ("joint.pred.", "decoder.decoder_projector."),
    (f"joint.joint_net.{JOINT_OUTPUT}.", "joint.head."),
    ("prompt_kernel.0.", "prompt_projector.linear_1."),
    ("prompt_kernel.2.", "prompt_projector.linear_2."),
)
_OFFLINE: _Pairs = (("encoder.pre_encode.conv.", "encoder.subsampling.layers."),)
_STREAMING: _Pairs = (
    ("encoder.pre_encode.conv.0.", "encoder.subsampling.conv_in."),
    ("encoder.pre_encode.conv.2.", "encoder.subsampling.layers.0.depthwise_conv."),
    ("encoder.pre_encode.conv.3.", "encoder.subsampling.layers.0.pointwise_conv."),
    ("encoder.pre_encode.conv.5.", "encoder.subsampling.layers.1.depthwise_conv."),
    ("encoder.pre_encode.conv.6.", "encoder.subsampling.layers.1.pointwise_conv."),
)


def pairs(*, streaming: bool) -> _Pairs:
    """Return the key map of the streaming classes of transformers (Nemotron), or of the others (Parakeet)."""
    return _SHARED + (_STREAMING if streaming else _OFFLINE)


def renamed(weights: Mapping[str, Tensor], key_map: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """Return weights under the second names of a key map; raises ModelError for two that come to the same name."""
    found: dict[str, Tensor] = {}
    known = tuple(key_map)
    for key, value in weights.items():
        name = next((key.replace(old, new) for old, new in known if old in key), key)
        if name in found:
            raise ModelError("two weights of the model have the same name", name, "get the model again")
        found[name] = value
    return found
