"""The models that accelerators are measured with: published sizes, random weights that say as much as people do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.fastconformer.reading import parse_config
from tests.fastconformer.checkpoints import RATE_HZ, config, recording
from tools.cpu_speed_models import (
    CALIBRATION_S,
    HIDDEN,
    SEED,
    SIZES,
    VOCABULARY,
    configuration,
    drawn,
    make_tokenizer,
    settle,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.fastconformer.config import ModelConfig

CLIPS = 64


def sound(seconds: int, clips: int = CLIPS) -> NDArray[np.float32]:
    """Return made-up sound that comes and goes, `(clips, samples)`."""
    return np.stack([recording(seconds * RATE_HZ, seed=clip) for clip in range(clips)])


def draw(name: str, audio: NDArray[np.float32]) -> tuple[ModelConfig, dict[str, Tensor], float]:
    """Return the configuration and weights of a size by its name, and its tokens per second in `audio`."""
    values = configuration(SIZES[name])
    weights = drawn(values, SEED)
    heard = torch.from_numpy(audio[:8, RATE_HZ : (1 + CALIBRATION_S) * RATE_HZ].copy())
    return parse_config(values), weights, settle(weights, values, heard)


def draw_for_files(audio: NDArray[np.float32]) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Return the configuration and weights of a TDT model of 0.6 billion parameters that hears all of a recording.

    Its second recurrent layer passes on what the rule of the first says; every jump is of two frames.
    """
    values = config("tdt")
    values["encoder"] |= {
        "n_layers": 24,
        "d_model": 1024,
        "n_heads": 8,
        "subsampling_conv_channels": 256,
        "ff_expansion_factor": 4,
    }
    values["decoder"]["vocab_size"] = values["joint"]["num_classes"] = VOCABULARY
    values["decoder"]["prednet"]["pred_hidden"] = HIDDEN
    values["joint"]["jointnet"] |= {
        "joint_hidden": HIDDEN,
        "encoder_hidden": 1024,
        "pred_hidden": HIDDEN,
        "activation": "relu",
        "dropout": 0.2,
    }
    values["model_defaults"] |= {"enc_hidden": 1024, "pred_hidden": HIDDEN, "joint_hidden": HIDDEN}
    weights = drawn(values, SEED)
    unit = torch.arange(4) * HIDDEN
    for name in ("weight_ih_l1", "weight_hh_l1"):
        weights["decoder.prediction.dec_rnn.lstm." + name][unit] = 0.0
    weights["decoder.prediction.dec_rnn.lstm.weight_ih_l1"][2 * HIDDEN, 0] = 10.0
    weights["decoder.prediction.dec_rnn.lstm.bias_ih_l1"][unit] = torch.tensor([10.0, -10.0, 0.0, 10.0])
    settle(weights, values, torch.from_numpy(audio[:8, RATE_HZ : (1 + CALIBRATION_S) * RATE_HZ].copy()))
    weights["joint.joint_net.2.weight"][VOCABULARY + 1 :] = 0.0
    weights["joint.joint_net.2.bias"][VOCABULARY + 3] = 1.0
    return parse_config(values), weights


def tokenizer() -> bytes:
    """Return a tokenizer of as many pieces as the models have labels."""
    return make_tokenizer()[0]
