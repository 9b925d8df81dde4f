"""Weights of `emformer_rnnt_base` at its full size, drawn from a seed, that say about so many labels a second."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.emformer.config import FRAME_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.emformer.model import Emformer

KINDS = 4097
_JOINT_GAIN = 4.0
WEIGHTS = "emformer_rnnt_base_librispeech.pt"

_LEAST, _MOST, _STEP, _STEPS = 12.0, 20.0, 0.25, 4


def write(folder: Path, recordings: NDArray[np.float32], per_s: float) -> None:
    """Write the three files of a model whose blank is as likely as the labels a second of `recordings` ask for."""
    import torch

    from auricle.emformer.config import Config
    from auricle.emformer.network import Network

    config = Config(80, 128, 20, 2048, 1024, 512, 3, 512, KINDS - 1)
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in Network(config).state_dict().items()}
    rng = np.random.default_rng(0)
    state = {key: torch.from_numpy(_drawn(key, shape, rng)) for key, shape in shapes.items()}
    statistics = {"mean": [14.0] * 80, "invstddev": [0.25] * 80}
    (folder / "global_stats_rnnt_librispeech.json").write_text(json.dumps(statistics), encoding="utf-8")
    (folder / "spm_bpe_4096_librispeech.model").write_bytes(_tokenizer())
    torch.save(state, folder / WEIGHTS)
    state["joiner.linear.bias"][-1] = _blank(folder, recordings, per_s)
    torch.save(state, folder / WEIGHTS)


def labels_per_s(folder: Path, recordings: NDArray[np.float32]) -> float:
    """Return how many labels a second of recordings `(count, samples)` the model says with a beam of ten."""
    from auricle.emformer.files import find
    from auricle.emformer.model import Emformer

    model = Emformer(find(folder))
    return _rate(model, [model.encode(model.hear(samples)) for samples in recordings])


def _blank(folder: Path, recordings: NDArray[np.float32], per_s: float) -> float:
    """Return a score of the blank that gives about so many labels a second, of all that were tried the best."""
    from auricle.emformer.files import find
    from auricle.emformer.model import Emformer

    model = Emformer(find(folder))
    frames = [model.encode(model.hear(samples)) for samples in recordings]
    layer: Any = model.network.joiner.linear
    bias = layer.stored[1]
    rates: dict[float, float] = {}

    def tried(blank: float) -> float:
        bias[-1] = blank
        rates[blank] = _rate(model, frames)
        print(f"a blank of {blank:.3f} gives {rates[blank]:.1f} labels a second", flush=True)
        return rates[blank]

    low, high = _LEAST, _MOST
    while high - low > _STEP:
        middle = (low + high) / 2
        low, high = (low, middle) if tried(middle) < per_s else (middle, high)
    # What is said steers what is said next, so that the rate does not fall evenly.
    for step in range(1, _STEPS):
        tried(low + step * _STEP / _STEPS)
    return min(rates, key=lambda blank: abs(rates[blank] - per_s))


def _rate(model: Emformer, recordings: Sequence[Tensor]) -> float:
    labels = sum(len(trail.tokens()) for trail in model.decode(recordings))
    return labels / (sum(map(len, recordings)) * FRAME_S)


def _drawn(key: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    if "norm" in key or ".pos_ff.0." in key:
        return rng.normal(float(key.endswith("weight")), 0.1, shape).astype(np.float32)
    if key == "predictor.embedding.weight":
        return rng.normal(0, 1, shape).astype(np.float32)
    gain = _JOINT_GAIN if key.startswith("joiner") else 1.0
    inputs = shape[1] if len(shape) > 1 else 16 * gain**2
    return rng.normal(0, gain / inputs**0.5, shape).astype(np.float32)


def _tokenizer() -> bytes:
    """Return a SentencePiece model of as many pieces, which no one has to understand."""
    import sentencepiece

    letters = [chr(0x4E00 + index) for index in range(KINDS - 2)]
    written = io.BytesIO()
    trainer: Any = sentencepiece.SentencePieceTrainer
    trainer.train(
        sentence_iterator=iter(" ".join(letters[start : start + 64]) for start in range(0, len(letters), 64)),
        model_writer=written, vocab_size=KINDS - 1, model_type="char", character_coverage=1.0,
        bos_id=-1, eos_id=-1, minloglevel=2, normalization_rule_name="identity",
    )  # fmt: skip
    return written.getvalue()
