"""What the graphs have in common: linear layers, norms, feed-forward parts and counting."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.encoder import ConformerLayer, Convolution, FeedForward
    from auricle.fastconformer.export.graph import Graph

END = (1 << 63) - 1
"""A slice that ends there takes all that is left."""

HIDDEN = -math.inf

INT8_BLOCK, INT8_LARGEST, INT8_ZERO = 32, 127, 128
INT8_COMPUTED = 4
"""ONNX Runtime's number for products of whole numbers."""


def linear(g: Graph, x: str, name: str, weight: Tensor, bias: Tensor | None) -> str:
    """Return `x W^T + b`, `(rows, outputs)`, of `(rows, inputs)`."""
    if g.quantises(name):
        return quantised(g, x, name, weight.flatten(1), bias)
    biases = () if bias is None else (g.weight(f"{name}.bias", bias),)
    return g("Gemm", x, g.weight(f"{name}.weight", weight.flatten(1)), *biases, transB=1)


def quantised(g: Graph, x: str, name: str, weight: Tensor, bias: Tensor | None) -> str:
    """Return the same of a weight in eight bits with one scale for `INT8_BLOCK` inputs of each output.

    Frames are rounded too, each with scales of its own, so that none depends on its neighbours.
    """
    outputs, inputs = weight.shape
    blocks = weight.reshape(outputs, -1, INT8_BLOCK)
    scales = blocks.abs().amax(dim=2, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / INT8_LARGEST
    whole = ((blocks / scales).round() + INT8_ZERO).to(torch.uint8)
    weights = g.weight(f"{name}.weight.int8", whole), g.weight(f"{name}.weight.scales", scales.flatten())
    biases = ("", "", g.weight(f"{name}.bias", bias)) if bias is not None else ()
    sizes: dict[str, Any] = {
        "K": inputs,
        "N": outputs,
        "bits": 8,
        "block_size": INT8_BLOCK,
        "accuracy_level": INT8_COMPUTED,
    }
    return g("MatMulNBits", x, *weights, *biases, domain="com.microsoft", **sizes)


def norm(g: Graph, x: str, name: str, layer: nn.LayerNorm) -> str:
    """Return frames normalised over their last dimension."""
    weight, bias = g.weight(f"{name}.weight", layer.weight), g.weight(f"{name}.bias", layer.bias)
    return g("LayerNormalization", x, weight, bias, axis=-1, epsilon=layer.eps)


def layer_norm(g: Graph, x: str, name: str, layer: ConformerLayer, part: str) -> str:
    """Return frames after the norm before a part of a layer."""
    with g.scope(f"{name}.norm_{part}"):
        return norm(g, x, f"{name}.norm_{part}", getattr(layer, f"norm_{part}"))


def convolution(g: Graph, x: str, name: str, layer: nn.Conv2d, pads: Sequence[int]) -> str:
    """Return a convolution over time and bands, `(batch, channels, time, bands)`, padded before and after each."""
    weights = [g.weight(f"{name}.weight", layer.weight)]
    bias: Tensor | None = layer.bias
    weights += [] if bias is None else [g.weight(f"{name}.bias", bias)]
    size = list(layer.kernel_size)
    return g("Conv", x, *weights, kernel_shape=size, strides=list(layer.stride), group=layer.groups, pads=list(pads))


def swish(g: Graph, x: str) -> str:
    """Return `x sigmoid(x)`."""
    return g("Mul", x, g("Sigmoid", x))


def feed_forward(g: Graph, x: str, name: str, part: FeedForward) -> str:
    """Return half of a feed-forward part, `(rows, width)`; halving the weights is exact."""
    with g.scope(f"{name}.linear1"):
        x = swish(g, linear(g, x, f"{name}.linear1", part.linear1.weight, part.linear1.bias))
    bias: Tensor | None = part.linear2.bias
    with g.scope(f"{name}.linear2"):
        return linear(g, x, f"{name}.linear2.half", 0.5 * part.linear2.weight, None if bias is None else 0.5 * bias)


def queries_keys_values(g: Graph, x: str, name: str, layer: ConformerLayer, shape: str) -> tuple[str, str, str, str]:
    """Return content queries, place queries, keys and values, each `(batch, heads, frames, depth)`.

    Queries are scaled by the root of the depth. `shape` is (batch, frames, 3, heads, depth).
    """
    attention = layer.self_attn
    scale = 1.0 / math.sqrt(attention.pos_bias_u.shape[1])
    parts = (attention.linear_q, attention.linear_k, attention.linear_v)
    weight = torch.cat((parts[0].weight * scale, parts[1].weight, parts[2].weight))
    first: Tensor | None = parts[0].bias
    bias = None if first is None else torch.cat((first * scale, parts[1].bias, parts[2].bias))
    with g.scope(f"{name}.linear_qkv"):
        x = linear(g, x, f"{name}.linear_qkv", weight, bias)
    x = g("Transpose", g("Reshape", x, shape), perm=[2, 0, 3, 1, 4])
    query, key, value = (g("Squeeze", part, g.whole(0)) for part in g.several("Split", 3, x, axis=0))
    biases = [
        g.weight(f"{name}.{kind}", (values * scale)[:, None])
        for kind, values in (("content_bias", attention.pos_bias_u), ("place_bias", attention.pos_bias_v))
    ]
    return g("Add", query, biases[0]), g("Add", query, biases[1]), key, value


def attended(g: Graph, heard: str, name: str, layer: ConformerLayer, width: int) -> str:
    """Return `(rows, width)` of what the heads heard, `(batch, heads, frames, depth)`."""
    x = g("Reshape", g("Transpose", heard, perm=[0, 2, 1, 3]), g.whole(-1, width))
    out = layer.self_attn.linear_out
    with g.scope(f"{name}.linear_out"):
        return linear(g, x, f"{name}.linear_out", out.weight, out.bias)


def gated(g: Graph, x: str, name: str, convolution: Convolution) -> str:
    """Return the first pointwise convolution after its gate, `(rows, width)`."""
    first = convolution.pointwise_conv1
    with g.scope(f"{name}.pointwise_conv1"):
        x = linear(g, x, f"{name}.pointwise_conv1", first.weight, first.bias)
    x, gate = g.several("Split", 2, x, axis=1)
    return g("Mul", x, g("Sigmoid", gate))


def convolved(g: Graph, x: str, name: str, convolution: Convolution) -> str:
    """Return what follows the depthwise convolution and its factors, `(rows, width)`."""
    if isinstance(convolution.batch_norm, nn.LayerNorm):
        x = norm(g, x, f"{name}.batch_norm", convolution.batch_norm)
    second = convolution.pointwise_conv2
    with g.scope(f"{name}.pointwise_conv2"):
        return linear(g, swish(g, x), f"{name}.pointwise_conv2", second.weight, second.bias)


def depthwise(convolution: Convolution) -> tuple[Tensor, Tensor]:
    """Return the depthwise kernel `(width, 1, taps)` and bias, a batch norm after it multiplied in."""
    layer, after = convolution.depthwise_conv, convolution.batch_norm
    kernel = layer.weight
    bias = kernel.new_zeros(len(kernel)) if layer.bias is None else layer.bias
    if isinstance(after, nn.BatchNorm1d) and after.running_mean is not None and after.running_var is not None:
        factor = after.weight / (after.running_var + after.eps).sqrt()
        kernel, bias = kernel * factor[:, None, None], (bias - after.running_mean) * factor + after.bias
    return kernel, bias


def range_to(g: Graph, stop: str) -> str:
    """Return 0, 1, 2 and so on below a whole number."""
    return g("Range", g.one(0), stop, g.one(1))


def size_of(g: Graph, x: str, axis: int) -> str:
    """Return how long a dimension is, as one whole number."""
    return g("Squeeze", g("Shape", x, start=axis, end=axis + 1), g.whole(0))


def joined(g: Graph, *sizes: str | int) -> str:
    """Return a shape of constants and whole numbers."""
    parts = [g.whole(one) if isinstance(one, int) else g("Unsqueeze", one, g.whole(0)) for one in sizes]
    return g("Concat", *parts, axis=0)


def within(g: Graph, x: str, low: str, high: str) -> str:
    """Return where `low <= x < high`."""
    return g("And", g("GreaterOrEqual", x, low), g("Less", x, high))
