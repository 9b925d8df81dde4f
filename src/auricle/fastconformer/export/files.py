"""The encoder on whole recordings as a graph, with the inputs and outputs that NeMo gives it.

audio_signal (batch, mels, features), length (batch,)  ->  outputs (batch, width, frames), encoded_lengths (batch,)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from torch import nn

from auricle.fastconformer.attention import LONGEST_PERIOD
from auricle.fastconformer.export.graph import FLOAT, INT64
from auricle.fastconformer.export.layers import (
    HIDDEN,
    attended,
    convolution,
    convolved,
    depthwise,
    feed_forward,
    gated,
    joined,
    layer_norm,
    norm,
    queries_keys_values,
    range_to,
    size_of,
)
from auricle.fastconformer.subsampling import KERNEL, STRIDE, STRIDED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auricle.fastconformer.config import AttentionContext, EncoderConfig
    from auricle.fastconformer.encoder import ConformerLayer, Encoder
    from auricle.fastconformer.export.graph import Graph


@dataclass(frozen=True, slots=True)
class Recording:
    """What is the same for all layers.

    `valid` is `(batch, frames, 1)`; `hidden`, `(batch, 1, frames, frames)`, minus infinity for what may not be seen;
    `positions` the sinusoids of all distances, `(distances, width)`; the others are shapes and sizes.
    """

    valid: str
    hidden: str
    positions: str
    frames: str
    by_frame: str
    projected: str


def file_encoder(
    g: Graph, encoder: Encoder, config: EncoderConfig, context: AttentionContext, *, outputs: bool = True
) -> None:
    """Write the encoder with one attention context; without `outputs` something else is to follow."""
    g.input("audio_signal", ("batch", config.mels, "features"), FLOAT)
    g.input("length", ("batch",), INT64)
    if outputs:
        g.output("outputs", ("batch", config.width, "frames"), FLOAT)
        g.output("encoded_lengths", ("batch",), INT64)
    with g.scope("pre_encode"):
        x, lengths, frames = _pre_encoded(g, encoder, config)
    x = g("Mul", x, g.number(encoder.scale)) if encoder.scale != 1.0 else x
    with g.scope("recording"):
        recording = _recording(g, lengths, frames, config, context)
    for number, layer in enumerate(cast("Iterable[ConformerLayer]", encoder.layers)):
        x = _layer(g, x, f"layers.{number}", layer, recording)
    g("Transpose", g("Reshape", x, recording.by_frame), perm=[0, 2, 1], out="outputs")
    g("Squeeze", lengths, g.whole(1), out="encoded_lengths")


def _pre_encoded(g: Graph, encoder: Encoder, config: EncoderConfig) -> tuple[str, str, str]:
    """Return frames `(rows, width)`, lengths `(batch, 1)`, and how many frames there are at most."""
    pre_encode = encoder.pre_encode
    left, right = (KERNEL - 1, STRIDE - 1) if config.pre_encode_causal else (1, 1)
    layers = list(pre_encode.conv)
    x = g("Unsqueeze", g("Transpose", "audio_signal", perm=[0, 2, 1]), g.whole(1))
    lengths = g("Unsqueeze", "length", g.whole(1))
    empty = g("Equal", lengths, g.one(0))
    for index in STRIDED:
        x = _masked(g, x, lengths)
        pads = [left, left, right, right]
        x = convolution(g, x, f"pre_encode.conv.{index}", cast("nn.Conv2d", layers[index]), pads)
        after = layers[index + 1]
        if isinstance(after, nn.Conv2d):
            x = convolution(g, x, f"pre_encode.conv.{index + 1}", after, [0, 0, 0, 0])
        x = g("Relu", x)
        more = left + right - KERNEL + STRIDE
        lengths = g("Div", g("Add", lengths, g.one(more)), g.one(STRIDE))
    x, frames = _masked(g, x, lengths), size_of(g, x, 2)
    x = g("Reshape", g("Transpose", x, perm=[0, 2, 1, 3]), g.whole(-1, pre_encode.out.in_features))
    weight, bias = pre_encode.out.weight, pre_encode.out.bias
    x = g("Gemm", x, g.weight("pre_encode.out.weight", weight), g.weight("pre_encode.out.bias", bias), transB=1)
    return x, g("Where", empty, g.one(0), lengths), frames


def _masked(g: Graph, x: str, lengths: str) -> str:
    """Return `(batch, channels, time, bands)` with zeros beyond each length."""
    valid = g("Less", range_to(g, size_of(g, x, 2)), lengths)
    return g("Where", g("Unsqueeze", valid, g.whole(1, 3)), x, g.number(0.0))


def _recording(g: Graph, lengths: str, frames: str, config: EncoderConfig, context: AttentionContext) -> Recording:
    place = range_to(g, frames)
    query, key = g("Unsqueeze", place, g.whole(1)), g("Unsqueeze", place, g.whole(0))
    valid = g("Less", key, lengths)
    seen = _allowed(g, query, key, context)
    real = g("Unsqueeze", valid, g.whole(1))
    seen = real if seen is None else g("And", real, seen)
    # A frame beyond the end sees itself, since a softmax over nothing is not a number.
    seen = g("Or", seen, g("Equal", query, key))
    hidden = g("Where", g("Unsqueeze", seen, g.whole(1)), g.number(0.0), g.number(HIDDEN))
    batch = size_of(g, lengths, 0)
    last = g("Sub", frames, g.one(1))
    distances = g("Cast", g("Range", last, g("Sub", g.one(0), frames), g.one(-1)), to=1)
    rates = [math.exp(step * -(math.log(LONGEST_PERIOD) / config.width)) for step in range(0, config.width, 2)]
    angles = g("Mul", g("Unsqueeze", distances, g.whole(1)), g.numbers("rates", rates))
    both = [g("Unsqueeze", g(kind, angles), g.whole(2)) for kind in ("Sin", "Cos")]
    positions = g("Reshape", g("Concat", *both, axis=2), g.whole(-1, config.width))
    depth = config.width // config.heads
    return Recording(
        g("Unsqueeze", valid, g.whole(2)),
        hidden,
        positions,
        frames,
        joined(g, batch, frames, config.width),
        joined(g, batch, frames, 3, config.heads, depth),
    )


def _allowed(g: Graph, query: str, key: str, context: AttentionContext) -> str | None:
    """Return which keys a query may see, `(frames, frames)`, None where it may see all."""
    left, right = context.left, context.right
    if context.chunked and context.right is not None:
        chunk = context.right + 1
        query, key = (g("Div", one, g.one(chunk)) for one in (query, key))
        left, right = None if left is None else left // chunk, 0
    distance = g("Sub", query, key)
    bounds = []
    if left is not None:
        bounds.append(g("LessOrEqual", distance, g.one(left)))
    if right is not None:
        bounds.append(g("GreaterOrEqual", distance, g.one(-right)))
    if not bounds:
        return None
    return bounds[0] if len(bounds) == 1 else g("And", *bounds)


def _layer(g: Graph, x: str, name: str, layer: ConformerLayer, recording: Recording) -> str:
    y = layer_norm(g, x, name, layer, "feed_forward1")
    x = g("Add", x, feed_forward(g, y, f"{name}.feed_forward1", layer.feed_forward1))
    y = layer_norm(g, x, name, layer, "self_att")
    with g.scope(f"{name}.self_attn"):
        x = g("Add", x, _attention(g, y, f"{name}.self_attn", layer, recording))
    y = layer_norm(g, x, name, layer, "conv")
    with g.scope(f"{name}.conv"):
        x = g("Add", x, _convolved(g, y, f"{name}.conv", layer, recording))
    y = layer_norm(g, x, name, layer, "feed_forward2")
    x = g("Add", x, feed_forward(g, y, f"{name}.feed_forward2", layer.feed_forward2))
    with g.scope(name):
        return norm(g, x, f"{name}.norm_out", layer.norm_out)


def _attention(g: Graph, x: str, name: str, layer: ConformerLayer, recording: Recording) -> str:
    attention = layer.self_attn
    width = attention.pos_bias_u.numel()
    content, place, key, value = queries_keys_values(g, x, name, layer, recording.projected)
    with g.scope(f"{name}.linear_pos"):
        weight = g.weight(f"{name}.linear_pos.weight", attention.linear_pos.weight)
        table = g("Gemm", recording.positions, weight, transB=1)
    table = g("Reshape", table, g.whole(-1, attention.heads, width // attention.heads))
    bias = _by_key(g, g("MatMul", place, g("Transpose", table, perm=[1, 2, 0])), recording.frames)
    scores = g("MatMul", content, g("Transpose", key, perm=[0, 1, 3, 2]))
    scores = g("Add", g("Add", scores, bias), recording.hidden)
    return attended(g, g("MatMul", g("Softmax", scores, axis=-1), value), name, layer, width)


def _by_key(g: Graph, scores: str, frames: str) -> str:
    """Return scores by key of scores by distance: with a column before them each row starts one distance earlier."""
    padded = g("Pad", scores, g.whole(0, 0, 0, 1, 0, 0, 0, 0))
    turned = g("Reshape", padded, g("Concat", g.whole(0, 0, -1), g("Unsqueeze", frames, g.whole(0)), axis=0))
    shifted = g("Slice", turned, g.whole(1), g.whole(1 << 62), g.whole(2))
    count = g("Sub", g("Mul", frames, g.one(2)), g.one(1))
    rows = g("Reshape", shifted, g("Concat", g.whole(0, 0, -1), g("Unsqueeze", count, g.whole(0)), axis=0))
    return g("Slice", rows, g.whole(0), g("Unsqueeze", frames, g.whole(0)), g.whole(3))


def _convolved(g: Graph, x: str, name: str, layer: ConformerLayer, recording: Recording) -> str:
    x = g("Reshape", gated(g, x, name, layer.conv), recording.by_frame)
    x = g("Transpose", g("Where", recording.valid, x, g.number(0.0)), perm=[0, 2, 1])
    kernel, bias = depthwise(layer.conv)
    weights = g.weight(f"{name}.depthwise_conv.weight", kernel), g.weight(f"{name}.taps.bias", bias)
    left, right = layer.conv.padding
    x = g("Conv", x, *weights, kernel_shape=[kernel.shape[2]], group=len(kernel), pads=[left, right])
    return convolved(g, g("Reshape", g("Transpose", x, perm=[0, 2, 1]), g.whole(-1, len(bias))), name, layer.conv)
