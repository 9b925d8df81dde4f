"""Decoders as graphs: in the form of this runtime, which projects frames once, and in that of NeMo.

prediction  labels (batch,), hidden, cells (layers, batch, size)  ->  said (batch, joint), hidden.next, cells.next
projection  frames (batch, frames, width)                         ->  projected (batch, frames, joint)
joint       projected, said                                       ->  scores (batch, frames, outputs)
ctc         frames                                                ->  logprobs (batch, frames, labels)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from auricle.fastconformer.export.graph import INT32, INT64

if TYPE_CHECKING:
    from auricle.fastconformer.config import TransducerConfig
    from auricle.fastconformer.ctc import CtcHead
    from auricle.fastconformer.export.graph import Graph
    from auricle.fastconformer.transducer import Joint, Predictor

_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def prediction(g: Graph, config: TransducerConfig, predictor: Predictor, joint: Joint) -> None:
    """Write the prediction network, which moves on by one label, and the projection of what it says."""
    shape = (config.rnn_layers, "batch", config.hidden)
    labels = g.input("labels", ("batch",), INT64)
    hidden, cells = g.input("hidden", shape), g.input("cells", shape)
    g.output("said", ("batch", config.joint_hidden))
    g.output("hidden.next", shape)
    g.output("cells.next", shape)
    x = _recurrent(g, config, predictor, g("Unsqueeze", labels, g.whole(0)), (hidden, cells), ("hidden", "cells"))
    _linear(g, g("Squeeze", x, g.whole(0)), "joint.pred", joint.pred, out="said")


def projection(g: Graph, joint: Joint) -> None:
    """Write the layer of the joint network that encoder frames go through, once each."""
    frames = g.input("frames", ("batch", "frames", joint.enc.in_features))
    g.output("projected", ("batch", "frames", joint.enc.out_features))
    _linear(g, frames, "joint.enc", joint.enc, out="projected")


def joint(g: Graph, config: TransducerConfig, network: Joint) -> None:
    """Write what makes scores of projected frames and of what was said."""
    outputs = cast("nn.Linear", network.joint_net[-1])
    projected = g.input("projected", ("batch", "frames", config.joint_hidden))
    said = g.input("said", ("batch", config.joint_hidden))
    g.output("scores", ("batch", "frames", outputs.out_features))
    x = g(_ACTIVATIONS[config.activation], g("Add", projected, g("Unsqueeze", said, g.whole(1))))
    _linear(g, x, "joint.outputs", outputs, out="scores")


def ctc(g: Graph, head: CtcHead, width: int, labels: int, form: Literal["frames", "outputs"] = "frames") -> None:
    """Write a CTC head on frames `(batch, frames, width)`, or on NeMo's `outputs`, which are the other way round."""
    g.output("logprobs", ("batch", "frames", labels))
    is_ours = form == "frames"
    x = g.input("frames", ("batch", "frames", width)) if is_ours else g("Transpose", "outputs", perm=[0, 2, 1])
    layer = head.decoder_layers[0]
    weight = g.weight("ctc.weight", cast("Tensor", layer.weight).flatten(1).t())
    scores = g("Add", g("MatMul", x, weight), g.weight("ctc.bias", cast("Tensor", layer.bias)))
    g("LogSoftmax", scores, axis=-1, out="logprobs")


def nemo_predictor(g: Graph, config: TransducerConfig, predictor: Predictor) -> str:
    """Write NeMo's prediction network without its outputs; return what it says, `(batch, hidden, labels)`."""
    shape = (config.rnn_layers, "batch", config.hidden)
    targets = g.input("targets", ("batch", "labels"), INT32)
    g.input("target_length", ("batch",), INT32)
    first, second = g.input("input_states_1", shape), g.input("input_states_2", shape)
    x = _recurrent(
        g,
        config,
        predictor,
        g("Transpose", targets, perm=[1, 0]),
        (first, second),
        ("output_states_1", "output_states_2"),
        "",
    )
    return g("Transpose", x, perm=[1, 2, 0])


def nemo_decoder(g: Graph, config: TransducerConfig, predictor: Predictor) -> None:
    """Write the prediction network as sherpa-onnx reads it: inputs and outputs are known by their places."""
    said = nemo_predictor(g, config, predictor)
    shape = (config.rnn_layers, "batch", config.hidden)
    g.output("outputs", ("batch", config.hidden, "labels"))
    g.output("prednet_lengths", ("batch",), INT32)
    g.output("output_states_1", shape)
    g.output("output_states_2", shape)
    g("Identity", said, out="outputs")
    g("Identity", "target_length", out="prednet_lengths")


def nemo_joint(g: Graph, config: TransducerConfig, network: Joint, width: int) -> None:
    """Write the joint network as sherpa-onnx reads it."""
    frames = g.input("encoder_outputs", ("batch", width, "frames"))
    said = g.input("decoder_outputs", ("batch", config.hidden, "labels"))
    _nemo_joint(g, config, network, frames, said)


def nemo_decoder_joint(g: Graph, config: TransducerConfig, predictor: Predictor, network: Joint, width: int) -> None:
    """Write prediction and joint network in one, as onnx-asr reads them."""
    frames = g.input("encoder_outputs", ("batch", width, "frames"))
    said = nemo_predictor(g, config, predictor)
    shape = (config.rnn_layers, "batch", config.hidden)
    _nemo_joint(g, config, network, frames, said)
    g.output("prednet_lengths", ("batch",), INT32)
    g.output("output_states_1", shape)
    g.output("output_states_2", shape)
    g("Identity", "target_length", out="prednet_lengths")


def _nemo_joint(g: Graph, config: TransducerConfig, network: Joint, frames: str, said: str) -> None:
    outputs = cast("nn.Linear", network.joint_net[-1])
    g.output("outputs", ("batch", "frames", "labels", outputs.out_features))
    heard = _linear(g, g("Transpose", frames, perm=[0, 2, 1]), "joint.enc", network.enc)
    said = _linear(g, g("Transpose", said, perm=[0, 2, 1]), "joint.pred", network.pred)
    both = g("Add", g("Unsqueeze", heard, g.whole(2)), g("Unsqueeze", said, g.whole(1)))
    _linear(g, g(_ACTIVATIONS[config.activation], both), "joint.outputs", outputs, out="outputs")


def _linear(g: Graph, x: str, name: str, layer: nn.Linear, out: str | None = None) -> str:
    """Return `x W^T + b` over the last dimension."""
    with g.scope(name):
        product = g("MatMul", x, g.weight(f"{name}.weight.turned", layer.weight.t()))
        return g("Add", product, g.weight(f"{name}.bias", layer.bias), out=out)


def _recurrent(
    g: Graph,
    config: TransducerConfig,
    predictor: Predictor,
    labels: str,
    state: tuple[str, str],
    names: tuple[str, str],
    suffix: str = ".next",
) -> str:
    """Return `(labels, batch, hidden)` of labels `(labels, batch)`; the state is given out under the names."""
    lstm = predictor.prediction.dec_rnn.lstm
    x = g("Gather", g.weight("decoder.embed", predictor.prediction.embed.weight), labels, axis=0)
    after: list[list[str]] = [[], []]
    for number, (of_input, of_hidden, input_bias, hidden_bias) in enumerate(lstm.all_weights):
        name = f"decoder.lstm.{number}"
        weights = (
            g.weight(f"{name}.input", _in_order(of_input)[None]),
            g.weight(f"{name}.hidden", _in_order(of_hidden)[None]),
            g.weight(f"{name}.bias", torch.cat((_in_order(input_bias), _in_order(hidden_bias)))[None]),
        )
        before = [
            g("Slice", one, g.whole(number), g.whole(number + 1), g.whole(0)) if config.rnn_layers > 1 else one
            for one in state
        ]
        outs = None
        if config.rnn_layers == 1:
            outs = (f"{name}:y", *(f"{one}{suffix}" for one in names))
        y, *ends = g.several("LSTM", 3, x, *weights, "", *before, outs=outs, hidden_size=config.hidden)
        x = g("Squeeze", y, g.whole(1))
        for part, end in zip(after, ends, strict=True):
            part.append(end)
    if config.rnn_layers > 1:
        for part, name in zip(after, names, strict=True):
            g("Concat", *part, axis=0, out=f"{name}{suffix}")
    return x


def _in_order(gates: Tensor) -> Tensor:
    """Return the gates of torch (input, forget, cell, output) in ONNX's order (input, output, forget, cell)."""
    enter, forget, new, leave = gates.chunk(4)
    return torch.cat((enter, leave, forget, new))
