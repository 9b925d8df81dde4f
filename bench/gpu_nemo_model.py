"""NeMo's models for the measurements of a GPU: published sizes, drawn weights, a rate of labels like that of speech."""

from __future__ import annotations

import copy
import tarfile
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tests.fastconformer.checkpoints import RATE_HZ, config, recording
from tools.cpu_speed_models import HIDDEN, SEED, TOKENS_PER_S, VOCABULARY, Size, configuration, drawn, settle, write

if TYPE_CHECKING:
    from torch import Tensor

STEPS_OF_DURATION = 2
LOUDEST_BLANK, HALVINGS = 32.0, 9


def build(values: dict[str, Any], device: torch.device) -> Any:
    """Return NeMo's model of a configuration, on a device, with the weights that are drawn for it."""
    voices = torch.from_numpy(np.stack([recording(4 * RATE_HZ, seed) for seed in range(4)]))
    weights = drawn(values, SEED)
    for key in weights:
        if key.endswith("running_var"):
            weights[key].fill_(1.0)
        elif key.endswith("num_batches_tracked"):
            weights[key] = torch.tensor(0)
    settle(weights, values, voices)
    if "durations" in values["decoding"]:
        say_durations(weights)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "tokenizer.tar")
        write(archive, values, {})
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        made = values | {"tokenizer": {"dir": folder, "type": "bpe"}}
        settings = import_module("omegaconf").OmegaConf.create(made)
        model = import_module("nemo.collections.asr").models.EncDecRNNTBPEModel(cfg=settings)
    model.load_state_dict(weights)
    return model.to(device).eval()


def offline_values(size: Size) -> dict[str, Any]:
    """Return the configuration of an offline TDT of a size, as published for 0.6B but for a vocabulary of 1024."""
    values = configuration(size)
    own = config("tdt")
    for key in ("encoder", "preprocessor"):
        kept = ("n_layers", "d_model", "n_heads", "feat_in", "features", "subsampling_conv_channels", "dither")
        values[key] = own[key] | {name: values[key][name] for name in kept if name in values[key]}
        values[key] |= {"ff_expansion_factor": 4} if key == "encoder" else {}
    values["decoder"]["prednet"]["pred_rnn_layers"] = 2
    values["joint"]["num_extra_outputs"] = own["joint"]["num_extra_outputs"]
    values["decoding"], values["loss"] = own["decoding"], own["loss"]
    values["model_defaults"] |= own["model_defaults"] | values["model_defaults"]
    return values


def say_durations(weights: dict[str, Tensor]) -> None:
    """Have the second layer of a TDT's prediction network say what the first does, and every turn take two frames."""
    unit = torch.arange(4) * HIDDEN
    lstm = "decoder.prediction.dec_rnn.lstm."
    for name in ("weight_ih_l1", "weight_hh_l1"):
        weights[lstm + name][unit] = 0.0
    weights[lstm + "weight_ih_l1"][2 * HIDDEN, 0] = 10.0
    weights[lstm + "bias_ih_l1"][unit] = torch.tensor([10.0, -10.0, 0.0, 10.0])
    weights["joint.joint_net.2.weight"][VOCABULARY + 1 :] = 0.0
    weights["joint.joint_net.2.bias"][VOCABULARY + 1 + STEPS_OF_DURATION] = 1.0


def features_of(model: Any) -> Any:
    """Return a preprocessor in single precision that adds no noise and no padding, as NeMo's pipeline makes its own."""
    settings = copy.deepcopy(model.cfg.preprocessor)
    with import_module("omegaconf").open_dict(settings):
        settings.dither, settings.pad_to = 0.0, 0
    return type(model).from_config_dict(settings).to(model.joint.enc.weight.device)


@torch.inference_mode()
def set_rate(model: Any, features: Any) -> float:
    """Set the blank's score so that decoding says `TOKENS_PER_S`; return the rate that came of it."""
    weight = model.joint.enc.weight
    sound = torch.from_numpy(np.stack([recording(12 * RATE_HZ, 100 + seed) for seed in range(16)])).to(weight.device)
    lengths = torch.full((len(sound),), sound.shape[1], device=weight.device)
    made, sizes = features(input_signal=sound, length=lengths)
    encoded, sizes = model.encoder(audio_signal=made.to(weight.dtype), length=sizes)
    bias = model.joint.joint_net[-1].bias
    low, high = 0.0, LOUDEST_BLANK
    rates: dict[float, float] = {}
    for _ in range(HALVINGS):
        score = (low + high) / 2
        bias[VOCABULARY] = score
        said = model.decoding.rnnt_decoder_predictions_tensor(encoded, sizes, return_hypotheses=True)
        rates[score] = sum(len(one.y_sequence) for one in said) / (sound.numel() / RATE_HZ)
        low, high = (score, high) if rates[score] > TOKENS_PER_S else (low, score)
    best = min(rates, key=lambda score: abs(rates[score] - TOKENS_PER_S))
    bias[VOCABULARY] = best
    return rates[best]


def decode(model: Any, *, graphs: bool) -> None:
    """Have the model decode greedily, all streams at once, in loops over labels."""
    decoding = model.cfg.decoding
    with import_module("omegaconf").open_dict(decoding):
        decoding.strategy = "greedy_batch"
        decoding.greedy = {"max_symbols": 10, "loop_labels": True, "use_cuda_graph_decoder": graphs}
    model.change_decoding_strategy(decoding, verbose=False)


def graphs_of(model: Any) -> str:
    """Return NeMo's name for how its decoder has used CUDA graphs, "none" if it has not."""
    computer = model.decoding.decoding.decoding_computer
    return "none" if computer.state is None else str(computer.cuda_graphs_mode.value)
