"""The encoder on one chunk of many streams as a graph; all that a stream carries is an input and an output.

    features                    (batch, 8 * frames, mels)  that end with the last one that the chunk's frames see
    done                        (batch,)                   chunks of the utterance before this one; 0 begins it
    total                       (batch,)                   feature frames of the utterance; 2^40 while it goes on
    keys.N, values.N            (batch, heads, ring, depth)
    convolution.N               (batch, frames before, width)
    pre_encoder.N               (batch, channels, bands)
    frames                      (batch, frames, width)

and each kind of state once more with `.next`. One graph serves every lookahead: a chunk's length is that of the
features, the context that of the rings. A chunk goes where the oldest was, so a ring is never turned, and the scores of
the distances are brought to the ring's order instead. Who gives the rings as outputs in the memory that they have as
inputs has nothing copied but the new frames. Where `done` is 0 everything else in the state is ignored, as long as it
is finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from auricle.fastconformer.attention import sinusoids
from auricle.fastconformer.config import SUBSAMPLING
from auricle.fastconformer.export.graph import INT64
from auricle.fastconformer.export.layers import (
    END,
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
    within,
)
from auricle.fastconformer.subsampling import KERNEL, STRIDE, STRIDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auricle.fastconformer.config import EncoderConfig
    from auricle.fastconformer.encoder import ConformerLayer, Encoder
    from auricle.fastconformer.export.graph import Graph
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.subsampling import PreEncoder


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is the same for all layers: where a step's chunks stand in their rings, and what they may see.

    `fresh` is `(batch, 1, 1)`; `written` the places of the new frames, `(batch, heads, frames, 3)`; `places` where each
    query finds each place of the ring in a table of distances, `(batch, heads, frames, ring)`; `hidden` minus infinity
    for what may not be seen, `(batch, 1, 1, ring)`; `by_frame`, `projected` and `ends` are shapes and slices.
    """

    fresh: str
    written: str
    places: str
    hidden: str
    by_frame: str
    projected: str
    frames: str


@dataclass(frozen=True, slots=True)
class Stream:
    """The values that tell a stream's place: chunks done, frames of a chunk and of a ring, all features."""

    done: str
    frames: str
    ring: str
    total: str


def live_encoder(g: Graph, encoder: Encoder, config: EncoderConfig, classes: Sequence[LatencyClass]) -> None:
    """Write the encoder with its state as inputs and outputs; `classes` say how long rings and chunks may be."""
    features = g.input("features", ("batch", "features", config.mels))
    done, total = (g.input(name, ("batch",), INT64) for name in ("done", "total"))
    state = declare(g, encoder.pre_encode, config)
    frames = g("Div", size_of(g, features, 1), g.one(SUBSAMPLING))
    place = Stream(done, frames, size_of(g, "keys.0", 2) if state else frames, total)
    g.output("frames", ("batch", "frames", config.width))
    x = run(g, features, place, encoder, config, classes)
    g("Reshape", x, joined(g, size_of(g, features, 0), frames, config.width), out="frames")


def declare(g: Graph, pre_encode: PreEncoder, config: EncoderConfig) -> list[tuple[str, tuple[int | str, ...]]]:
    """Add the inputs and outputs of the state; return their names and shapes."""
    state = shapes(pre_encode, config)
    for name, shape in state:
        g.input(name, shape)
        g.output(f"{name}.next", shape)
    return state


def shapes(pre_encode: PreEncoder, config: EncoderConfig) -> list[tuple[str, tuple[int | str, ...]]]:
    """Return names and shapes of all that a stream carries."""
    ring = ("batch", config.heads, "ring", config.width // config.heads)
    found: list[tuple[str, tuple[int | str, ...]]] = []
    for number in range(config.layers):
        found += [(f"keys.{number}", ring), (f"values.{number}", ring)]
        found += [(f"convolution.{number}", ("batch", config.conv_left, config.width))]
    return [*found, *((f"pre_encoder.{n}", ("batch", *one)) for n, one in enumerate(pre_encode.inputs(config.mels)))]


def run(
    g: Graph, features: str, place: Stream, encoder: Encoder, config: EncoderConfig, classes: Sequence[LatencyClass]
) -> str:
    """Return the encoder frames `(rows, width)` of features `(batch, 8 * frames, mels)`."""
    far, near = max(one.ring for one in classes) - 1, 1 - max(one.frames for one in classes)
    fresh = g("Reshape", g("Equal", place.done, g.one(0)), g.whole(-1, 1, 1))
    with g.scope("pre_encode"):
        x, real = pre_encoded(g, features, encoder.pre_encode, place, fresh)
    x = g("Mul", x, g.number(encoder.scale)) if encoder.scale != 1.0 else x
    with g.scope("chunk"):
        chunk = _chunk(g, features, place, real, fresh, far, config)
    positions = sinusoids(far, near, config.width, torch.device("cpu"))
    for number, layer in enumerate(cast("Iterable[ConformerLayer]", encoder.layers)):
        x = _layer(g, x, f"layers.{number}", number, layer, chunk, positions)
    return x


def pre_encoded(g: Graph, features: str, pre_encode: PreEncoder, place: Stream, fresh: str) -> tuple[str, str]:
    """Return frames `(rows, width)`, and how many encoder frames the utterance has in all, `(batch, 1)`."""
    layers = list(pre_encode.conv)
    x = g("Unsqueeze", features, g.whole(1))
    passed = g("Sub", g("Mul", place.done, place.frames), g.one(1))
    first = g("Unsqueeze", g("Add", g("Mul", passed, g.one(SUBSAMPLING)), g.one(1)), g.whole(1))
    real = g("Unsqueeze", place.total, g.whole(1))
    nothing = g.number(0.0)
    fresh = g("Unsqueeze", fresh, g.whole(3))
    for stage, index in enumerate(STRIDED):
        times = g("Add", first, range_to(g, size_of(g, x, 2)))
        seen = g("Reshape", within(g, times, g.one(0), real), joined(g, size_of(g, x, 0), 1, -1, 1))
        x = g("Where", seen, x, nothing)
        before = g("Where", fresh, nothing, g("Unsqueeze", f"pre_encoder.{stage}", g.whole(2)))
        last = g("Slice", x, g.whole(-1), g.whole(END), g.whole(2))
        g("Squeeze", last, g.whole(2), out=f"pre_encoder.{stage}.next")
        x = g("Concat", before, x, axis=2)
        x = convolution(g, x, f"pre_encode.conv.{index}", cast("nn.Conv2d", layers[index]), [0, KERNEL - 1, 0, 1])
        after = layers[index + 1]
        if isinstance(after, nn.Conv2d):
            x = convolution(g, x, f"pre_encode.conv.{index + 1}", after, [0, 0, 0, 0])
        x = g("Relu", x)
        # Output j of a causal convolution sees the inputs up to 2 j: first is -(-first // 2).
        first = g("Sub", g.one(0), _halved(g, g("Sub", g.one(0), first)))
        real = g("Where", g("Greater", real, g.one(0)), g("Add", g("Div", real, g.one(STRIDE)), g.one(1)), g.one(0))
    x = g("Reshape", g("Transpose", x, perm=[0, 2, 1, 3]), g.whole(-1, pre_encode.out.in_features))
    weight, bias = pre_encode.out.weight, pre_encode.out.bias
    return g(
        "Gemm", x, g.weight("pre_encode.out.weight", weight), g.weight("pre_encode.out.bias", bias), transB=1
    ), real


def _halved(g: Graph, x: str) -> str:
    """Return a whole number halved towards minus infinity; ONNX's own division goes towards zero."""
    return g("Div", g("Sub", x, g("Mod", x, g.one(STRIDE))), g.one(STRIDE))


def _chunk(g: Graph, features: str, place: Stream, real: str, fresh: str, far: int, config: EncoderConfig) -> Chunk:
    frames, ring, batch = place.frames, place.ring, size_of(g, features, 0)
    started = g("Mul", place.done, frames)
    start = g("Unsqueeze", g("Mod", started, ring), g.whole(1))
    step = range_to(g, frames)
    heads = config.heads
    written = g("Reshape", g("Add", start, step), joined(g, batch, 1, frames, 1))
    rows = g("Reshape", range_to(g, batch), g.whole(-1, 1, 1, 1))
    each = g("Reshape", range_to(g, g.one(heads)), g.whole(1, -1, 1, 1))
    everywhere = joined(g, batch, heads, frames, 1)
    written = g("Concat", *(g("Expand", one, everywhere) for one in (rows, each, written)), axis=3)
    # Which frame each place holds when the chunk is there, counted from the chunk's first.
    after = g("Mod", g("Sub", range_to(g, ring), start), ring)
    time = g("Where", g("Less", after, frames), after, g("Sub", after, ring))
    table = g("Add", g("Unsqueeze", time, g.whole(1)), g("Unsqueeze", g("Sub", g.one(far), step), g.whole(1)))
    places = g("Expand", g("Unsqueeze", table, g.whole(1)), joined(g, batch, heads, frames, ring))
    # A frame beyond the end sees the first of its chunk, since a softmax over nothing is not a number.
    started = g("Unsqueeze", started, g.whole(1))
    seen = within(g, time, g("Sub", g.one(0), started), g("Max", g("Sub", real, started), g.one(1)))
    hidden = g("Where", seen, g.number(0.0), g.number(HIDDEN))
    return Chunk(
        fresh,
        written,
        places,
        g("Unsqueeze", hidden, g.whole(1, 2)),
        joined(g, batch, frames, config.width),
        joined(g, batch, frames, 3, heads, config.width // heads),
        g("Unsqueeze", frames, g.whole(0)),
    )


def _layer(
    g: Graph, x: str, name: str, number: int, layer: ConformerLayer, chunk: Chunk, positions: torch.Tensor
) -> str:
    y = layer_norm(g, x, name, layer, "feed_forward1")
    x = g("Add", x, feed_forward(g, y, f"{name}.feed_forward1", layer.feed_forward1))
    y = layer_norm(g, x, name, layer, "self_att")
    with g.scope(f"{name}.self_attn"):
        x = g("Add", x, _attention(g, y, f"{name}.self_attn", number, layer, chunk, positions))
    y = layer_norm(g, x, name, layer, "conv")
    with g.scope(f"{name}.conv"):
        x = g("Add", x, _convolved(g, y, f"{name}.conv", number, layer, chunk))
    y = layer_norm(g, x, name, layer, "feed_forward2")
    x = g("Add", x, feed_forward(g, y, f"{name}.feed_forward2", layer.feed_forward2))
    with g.scope(name):
        return norm(g, x, f"{name}.norm_out", layer.norm_out)


def _attention(
    g: Graph, x: str, name: str, number: int, layer: ConformerLayer, chunk: Chunk, positions: torch.Tensor
) -> str:
    attention = layer.self_attn
    content, place, key, value = queries_keys_values(g, x, name, layer, chunk.projected)
    keys = g("ScatterND", f"keys.{number}", chunk.written, key, out=f"keys.{number}.next")
    values = g("ScatterND", f"values.{number}", chunk.written, value, out=f"values.{number}.next")
    projected = attention.linear_pos(positions).view(len(positions), attention.heads, -1)
    table = g.weight(f"{name}.places", projected.permute(1, 2, 0))
    bias = g("GatherElements", g("MatMul", place, table), chunk.places, axis=3)
    scores = g("MatMul", content, g("Transpose", keys, perm=[0, 1, 3, 2]))
    scores = g("Add", g("Add", scores, bias), chunk.hidden)
    heard = g("MatMul", g("Softmax", scores, axis=-1), values)
    return attended(g, heard, name, layer, attention.pos_bias_u.numel())


def _convolved(g: Graph, x: str, name: str, number: int, layer: ConformerLayer, chunk: Chunk) -> str:
    """Apply the depthwise kernel frame by frame: a convolution over so few frames costs more in its overhead."""
    x = g("Reshape", gated(g, x, name, layer.conv), chunk.by_frame)
    before = g("Where", chunk.fresh, g.number(0.0), f"convolution.{number}")
    x = g("Concat", before, x, axis=1)
    g("Slice", x, chunk.frames, g.whole(END), g.whole(1), out=f"convolution.{number}.next")
    kernel, bias = depthwise(layer.conv)
    out = g.weight(f"{name}.taps.bias", bias)
    for tap in range(kernel.shape[2]):
        seen = g("Slice", x, g.whole(tap), g("Add", chunk.frames, g.one(tap)), g.whole(1))
        out = g("Add", out, g("Mul", seen, g.weight(f"{name}.taps.{tap}", kernel[:, 0, tap])))
    return convolved(g, g("Reshape", out, g.whole(-1, len(bias))), name, layer.conv)
