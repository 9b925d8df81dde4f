"""Toy graphs that hear tones, with the names and inputs of NeMo's own exports, for onnx-asr.

They hear what `sherpa_graphs` says. The mels are normalised, so that silence is zero and a tone stands out from it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.engines.sherpa_graphs import CONSTANTS, NEMO_TOKENS, NOT_AGAIN_LAST, PICK_LAST, save, write_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FRAMES = """image = Unsqueeze(audio_signal, at_1) bands = MaxPool<kernel_shape=[20,1], strides=[20,1]>(image)
    slow = AveragePool<kernel_shape=[1,8], strides=[1,8], ceil_mode=1>(bands)
    flat = Squeeze(slow, at_1) frames = Transpose<perm=[0,2,1]>(flat)
    top = ReduceMax<axes=[2], keepdims=1>(frames) gap = Sub(frames, top) wide = Mul(gap, ten) clear = Add(frames, wide)
    scores = MatMul(clear, pick) logits = Add(scores, bias)"""
WEIGHTS = f"float[4,5] pick = {PICK_LAST}, float[5] bias = {{0,0,0,0,1}}, float ten = {{10}}"


def configure(folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"model_type": kind, "features_size": 80, "subsampling_factor": 8}
    (folder / "config.json").write_text(json.dumps(facts))
    write_tokens(folder / "vocab.txt", NEMO_TOKENS)
    return folder


def ctc(folder: Path, name: str = "model.onnx", props: Mapping[str, str] | None = None) -> Path:
    """An offline CTC model."""
    graph = f"""ctc (float[N,80,T] audio_signal, int64[N] length) => (float[N,F,5] logprobs)
        <{CONSTANTS}, {WEIGHTS}> {{ {FRAMES} logprobs = Identity(logits) }}"""
    save(folder / name, graph, props)
    return configure(folder, "nemo-conformer-ctc")


def transducer(folder: Path, durations: str = "", cache: str = "") -> Path:
    """An offline transducer, a TDT one with the constant scores of its `durations`; `cache` is one more input."""
    encoder = f"""encoder (float[N,80,T] audio_signal, int64[N] length{cache})
        => (float[N,5,F] outputs, int64[N] encoded_lengths)
        <{CONSTANTS}, {WEIGHTS}>
        {{ {FRAMES} outputs = Transpose<perm=[0,2,1]>(logits) encoded_lengths = Div(length, by_8) }}"""
    count = durations.count(",") + 1 if durations else 0
    end = "outputs = Concat<axis=-1>(tokens, durations)" if durations else "outputs = Identity(tokens)"
    joint = f"""joint (float[N,5,E] encoder_outputs, int32[N,U] targets, int32[N] target_length,
        float[1,N,1] input_states_1, float[1,N,1] input_states_2)
        => (float[N,E,U,{5 + count}] outputs, int32[N] prednet_lengths,
            float[1,N,1] output_states_1, float[1,N,1] output_states_2)
        <{CONSTANTS}, {NOT_AGAIN_LAST}, float[1,1,1,{count or 1}] durations = {{{durations or 0}}}>
        {{ rows = Gather(table, targets) heard = Transpose<perm=[0,2,1]>(encoder_outputs) sum = Add(heard, rows)
           tokens = Unsqueeze(sum, at_1) {end} prednet_lengths = Identity(target_length)
           output_states_1 = Identity(input_states_1) output_states_2 = Identity(input_states_2) }}"""
    save(folder / "encoder-model.onnx", encoder)
    save(folder / "decoder_joint-model.onnx", joint)
    return configure(folder, "nemo-conformer-tdt" if durations else "nemo-conformer-rnnt")


def tdt(folder: Path) -> Path:
    """A TDT model that goes on by two frames after every token and blank."""
    return transducer(folder, "0,0,1")
