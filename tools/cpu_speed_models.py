"""The checkpoints that the speed of CPUs is measured with: published sizes, weights drawn from a seed.

Random weights say either nothing or a label at every turn. So the joint network is given a rule on top of what was
drawn: labels of the first half of the vocabulary are said when one direction of the frames is high, those of the second
half when it is low, in turn, with a blank score that makes as many tokens per second as speech has.
"""

from __future__ import annotations

import math
import tarfile
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from auricle.fastconformer.network import Network, filled
from auricle.fastconformer.reading import parse_config
from tests.fastconformer.checkpoints import config
from tools.training.mels import mel_filters

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

CONTEXTS = [[70, 13], [70, 6], [70, 1], [70, 0]]
VOCABULARY, HIDDEN = 1024, 640
SEED = 20
TOKENS_PER_S = 3.2
CALIBRATION_S = 4
BRANCH_ENDS = ("linear_out.weight", "linear2.weight", "pointwise_conv2.weight")
QUIET = 0.2
"""How loud a branch of a layer is, so that a frame tells more of its own sound than of its past."""
WIDEST = 16
LOUD = 8.0
"""How much louder the rule is than the drawn weights, which choose among the labels of a half."""


@dataclass(frozen=True, slots=True)
class Size:
    """The dimensions of a published model."""

    layers: int
    width: int
    mels: int
    plain: bool
    """With biases, and frames scaled up by the root of the width."""


SIZES = {"110m": Size(17, 512, 80, plain=True), "0.6b": Size(24, 1024, 128, plain=False)}


def make_model(name: str, path: Path, audio: NDArray[np.float32]) -> float:
    """Write the archive of one of `SIZES`; return how many tokens per second it says in `audio`, `(clips, samples)`."""
    values = configuration(SIZES[name])
    weights = drawn(values, SEED)
    rate = settle(weights, values, torch.from_numpy(audio))
    write(path, values, weights)
    return rate


def configuration(size: Size) -> dict[str, Any]:
    """Return the configuration of a cache-aware RNN-T with four lookaheads, as NeMo writes it."""
    values = config("rnnt_stream")
    values["preprocessor"] |= {"features": size.mels, "dither": 0.0}
    values["encoder"] |= {
        "feat_in": size.mels,
        "n_layers": size.layers,
        "d_model": size.width,
        "n_heads": 8,
        "subsampling_conv_channels": 256,
        "ff_expansion_factor": 4,
        "use_bias": size.plain,
        "xscaling": size.plain,
        "att_context_size": CONTEXTS,
    }
    values["decoder"]["vocab_size"] = values["joint"]["num_classes"] = VOCABULARY
    values["decoder"]["prednet"]["pred_hidden"] = HIDDEN
    values["joint"]["jointnet"] |= {"joint_hidden": HIDDEN, "encoder_hidden": size.width, "pred_hidden": HIDDEN}
    values["model_defaults"] = {"enc_hidden": size.width, "pred_hidden": HIDDEN, "joint_hidden": HIDDEN}
    return values


def drawn(values: dict[str, Any], seed: int) -> dict[str, Tensor]:
    """Draw uniform weights that keep the variance of what they multiply; biases are zero and norms one."""
    parsed = parse_config(values)
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in Network(parsed).state_dict().items()}
    made = torch.Generator().manual_seed(seed)
    weights = {}
    for key, shape in sorted(shapes.items()):
        if not shape:
            weights[key] = torch.tensor(0)
        elif len(shape) == 1:
            weights[key] = torch.full(shape, float("norm" in key and key.endswith(("weight", "running_var"))))
        else:
            bound = 1.0 if "embed" in key else math.sqrt(3 / math.prod(shape[1:]))
            bound *= QUIET if key.endswith(BRANCH_ENDS) else 1.0
            weights[key] = torch.empty(shape).uniform_(-bound, bound, generator=made)
    features = parsed.features
    weights["preprocessor.featurizer.window"] = torch.hann_window(features.window_samples, periodic=False)
    mels = mel_filters(features.sample_rate, features.n_fft, features.mels)
    weights["preprocessor.featurizer.fb"] = torch.from_numpy(mels)[None]
    weights["decoder.prediction.embed.weight"][VOCABULARY] = 0.0
    return weights


@torch.inference_mode()
def settle(weights: dict[str, Tensor], values: dict[str, Any], audio: Tensor) -> float:
    """Centre the encoder's input on `audio`, and set the joint network and its blank; return tokens per second."""
    parsed = parse_config(values)
    network = filled(parsed, weights)
    features, lengths = network.preprocessor(audio, torch.full((len(audio),), audio.shape[1]))
    frames = network.encoder.pre_encode(features, lengths)[0].flatten(0, 1)
    scale = frames.std() * (parsed.encoder.width**0.5 if parsed.encoder.scale_input else 1.0)
    weights["encoder.pre_encode.out.weight"] /= scale
    weights["encoder.pre_encode.out.bias"].copy_(-frames.mean(0) / scale)
    encoder = filled(parsed, weights).encoder
    contexts = (parsed.encoder.contexts[0], parsed.encoder.contexts[-1])
    encoded = torch.cat([encoder(features, lengths, context)[0] for context in contexts])
    height = _rule(weights, encoded)
    rows, heard_s = height.tolist(), height.numel() * parsed.frame_s
    rates = {level: sum(_turns(row, level) for row in rows) / heard_s for level in np.linspace(0, 4, 400).tolist()}
    threshold = min(rates, key=lambda level: abs(rates[level] - TOKENS_PER_S))
    weights["joint.joint_net.2.bias"][VOCABULARY] = LOUD * threshold
    return rates[threshold]


def _rule(weights: dict[str, Tensor], encoded: Tensor) -> Tensor:
    """Write the rule into the weights; return how high the frames, `(batch, frames, width)`, are in its direction."""
    first = slice(0, VOCABULARY // 2)
    second = slice(VOCABULARY // 2, VOCABULARY)
    # Of the last label, one unit of the prediction network tells the half: 1 for the first and at the start, else -1.
    embedding = weights["decoder.prediction.embed.weight"]
    embedding[first, 0], embedding[second, 0] = 0.0, -2.0
    unit = torch.arange(4) * HIDDEN
    for name in ("weight_ih_l0", "weight_hh_l0"):
        weights["decoder.prediction.dec_rnn.lstm." + name][unit] = 0.0
    weights["decoder.prediction.dec_rnn.lstm.weight_ih_l0"][2 * HIDDEN, 0] = 10.0
    weights["decoder.prediction.dec_rnn.lstm.bias_ih_l0"][unit] = torch.tensor([10.0, -10.0, 10.0, 10.0])
    told = math.tanh(1.0)
    mean = encoded.mean((0, 1))
    projection = weights["joint.enc.weight"]
    direction = _lively(encoded - mean)
    projection[0], projection[1] = direction, -direction
    weights["joint.enc.bias"].copy_(-(projection @ mean))
    apart = 32.0
    said, said_bias = weights["joint.pred.weight"], weights["joint.pred.bias"]
    said[:2] = 0.0
    said[0, 0], said[1, 0], said_bias[:2] = -apart / told, apart / told, -apart
    outputs = weights["joint.joint_net.2.weight"]
    outputs[:, 2:] *= 0.1
    outputs[:, :2] = outputs[VOCABULARY] = 0.0
    outputs[first, 0] = outputs[second, 1] = LOUD
    return (encoded - mean) @ direction


def _lively(frames: Tensor) -> Tensor:
    """Return the direction that changes most from frame to frame, of unit variance, within the widest few."""
    values, vectors = torch.linalg.eigh(torch.cov(frames.flatten(0, 1).T))
    white = vectors[:, -WIDEST:] / values[-WIDEST:].sqrt()
    changes = (frames @ white).diff(dim=1).flatten(0, 1)
    direction: Tensor = white @ torch.linalg.eigh(changes.T @ changes)[1][:, -1]
    return direction


def _turns(heights: list[float], threshold: float) -> int:
    """Count the labels that the rule says: low first, since the start is like a label of the first half."""
    said, sign = 0, -1
    for height in heights:
        if sign * height > threshold:
            said, sign = said + 1, -sign
    return said


def write(path: Path, values: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Write an archive; the weights go through a file, since they may be larger than what memory has left."""
    tokenizer, pieces = make_tokenizer()
    with tarfile.open(path, "w") as tar, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for name, data in (
            ("model_config.yaml", yaml.safe_dump(values).encode()),
            ("tokenizer.model", tokenizer),
            ("vocab.txt", "\n".join(pieces[1:]).encode()),
        ):
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
        saved = Path(folder, "weights")
        torch.save(weights, saved)
        tar.add(saved, "./model_weights.ckpt")


def make_tokenizer() -> tuple[bytes, list[str]]:
    """Return a SentencePiece model trained on random syllables, and its pieces."""
    import sentencepiece

    rng = np.random.default_rng(SEED)
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiouy"]
    words = ["".join(rng.choice(syllables, rng.integers(1, 5))) for _ in range(4000)]
    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(rng.choice(words, 12)) for _ in range(4000)]),
        model_writer=model,
        vocab_size=VOCABULARY,
        model_type="bpe",
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        unk_id=0,
        num_threads=1,
        minloglevel=2,
    )
    data = model.getvalue()
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    return data, [processor.id_to_piece(index) for index in range(VOCABULARY)]
