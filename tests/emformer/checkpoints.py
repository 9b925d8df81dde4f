"""Small Emformer models made from a seed, in the files and under the names of torchaudio's pipeline.

The weights are drawn by NumPy alone and the tokenizer is FastConformer's small one, so that the same model comes out
wherever this runs. `fitted` is a checkpoint that `fit.py` trained: it knows a few seconds of speech by heart.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from tests.fastconformer.checkpoints import TOKENIZER, VOCABULARY

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

FITTED = Path(__file__).with_name("fitted")
MODELS = ("sharp", "talkative", "fitted")
MELS = 80

# What is added to the score of the blank, so that some frames are silent and some give several labels.
_BLANK_SCORES = {"sharp": 11.0, "talkative": 6.0}
_JOINT_GAIN = 4.0

SIZES = {
    "input_dim": MELS,
    "encoding_dim": 48,
    "time_reduction_input_dim": 16,
    "transformer_ffn_dim": 96,
    "transformer_num_layers": 3,
    "symbol_embedding_dim": 32,
    "num_lstm_layers": 2,
}
"""Of `emformer_rnnt_model`; everything else is as in `emformer_rnnt_base`."""


def build(name: str, folder: Path) -> Path:
    """Write the files of a model into a new folder and return it."""
    import torch

    if name == "fitted":
        return FITTED
    target = folder / name
    target.mkdir()
    torch.save(weights(name), target / "emformer_rnnt_base_librispeech.pt")
    rng = np.random.default_rng(7)
    statistics = {
        "mean": rng.normal(14, 2, MELS).astype(np.float32).tolist(),
        "invstddev": rng.uniform(0.2, 0.3, MELS).astype(np.float32).tolist(),
    }
    (target / "global_stats_rnnt_librispeech.json").write_text(json.dumps(statistics), encoding="utf-8")
    shutil.copy(TOKENIZER, target / "spm_bpe_4096_librispeech.model")
    return target


def weights(name: str) -> dict[str, Tensor]:
    """Return a state dict under torchaudio's names."""
    import torch

    rng = np.random.default_rng(crc32(name.encode()))
    drawn = {key: _drawn(key, shape, rng) for key, shape in shapes().items()}
    drawn["joiner.linear.bias"][-1] += _BLANK_SCORES[name]
    return {key: torch.from_numpy(value) for key, value in drawn.items()}


def shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor."""
    width, inner = 4 * SIZES["time_reduction_input_dim"], SIZES["transformer_ffn_dim"]
    joint, hidden = SIZES["encoding_dim"], SIZES["symbol_embedding_dim"]
    kinds = VOCABULARY + 1
    found: dict[str, tuple[int, ...]] = {
        "transcriber.input_linear.weight": (SIZES["time_reduction_input_dim"], SIZES["input_dim"])
    }
    for index in range(SIZES["transformer_num_layers"]):
        layer = f"transcriber.transformer.emformer_layers.{index}."
        for name, rows, columns in (
            ("attention.emb_to_key_value", 2 * width, width),
            ("attention.emb_to_query", width, width),
            ("attention.out_proj", width, width),
            ("pos_ff.1", inner, width),
            ("pos_ff.4", width, inner),
        ):
            found |= {f"{layer}{name}.weight": (rows, columns), f"{layer}{name}.bias": (rows,)}
        for name in ("pos_ff.0", "layer_norm_input", "layer_norm_output"):
            found |= {f"{layer}{name}.weight": (width,), f"{layer}{name}.bias": (width,)}
    found |= {"transcriber.output_linear.weight": (joint, width), "transcriber.output_linear.bias": (joint,)}
    found |= {f"transcriber.layer_norm.{part}": (joint,) for part in ("weight", "bias")}
    found["predictor.embedding.weight"] = (kinds, hidden)
    found |= {f"predictor.input_layer_norm.{part}": (hidden,) for part in ("weight", "bias")}
    for index in range(SIZES["num_lstm_layers"]):
        layer = f"predictor.lstm_layers.{index}."
        found |= {f"{layer}{name}.weight": (4 * hidden, hidden) for name in ("x2g", "p2g")}
        found |= {f"{layer}c_norm.{part}": (hidden,) for part in ("weight", "bias")}
        found |= {f"{layer}g_norm.{part}": (4 * hidden,) for part in ("weight", "bias")}
    found |= {"predictor.linear.weight": (joint, hidden), "predictor.linear.bias": (joint,)}
    found |= {f"predictor.output_layer_norm.{part}": (joint,) for part in ("weight", "bias")}
    return found | {"joiner.linear.weight": (kinds, joint), "joiner.linear.bias": (kinds,)}


def _drawn(key: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    if "norm" in key or ".pos_ff.0." in key:
        return rng.normal(float(key.endswith("weight")), 0.1, shape).astype(np.float32)
    if key == "predictor.embedding.weight":
        return rng.normal(0, 1, shape).astype(np.float32)
    gain = _JOINT_GAIN if key.startswith("joiner") else 1.0
    inputs = shape[1] if len(shape) > 1 else 16 * gain**2
    return (rng.normal(0, gain / inputs**0.5, shape)).astype(np.float32)
