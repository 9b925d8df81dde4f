"""Tiny `.nemo` archives made from a seed: every option that the runtime understands, in a dozen random models.

`python -m tests.fastconformer.checkpoints FOLDER` writes them. The weights are drawn by NumPy alone and the tokenizer
is the small file beside this one (SentencePiece BPE, 40 pieces, no normalisation, trained on random syllables), so
that the same archives come out wherever this runs; NeMo reads them as its own.
"""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

TOKENIZER = Path(__file__).with_name("tokenizer.model")
VOCABULARY = 40
RATE_HZ = 16_000
_MODULES = "nemo.collections.asr.modules."
_CLASSES = {
    "transducer": "nemo.collections.asr.models.rnnt_bpe_models.EncDecRNNTBPEModel",
    "ctc": "nemo.collections.asr.models.ctc_bpe_models.EncDecCTCModelBPE",
    "hybrid": "nemo.collections.asr.models.hybrid_rnnt_ctc_bpe_models.EncDecHybridRNNTCTCBPEModel",
}
_WITH_PROMPT = {
    "transducer": "nemo.collections.asr.models.rnnt_bpe_models_prompt.EncDecRNNTBPEModelWithPrompt",
    "hybrid": "nemo.collections.asr.models.hybrid_rnnt_ctc_bpe_models_prompt.EncDecHybridRNNTCTCBPEModelWithPrompt",
}
PROMPTS = {"en-US": 0, "en": 0, "de": 3, "auto": 5}
_STREAMING = {
    "causal_downsampling": True,
    "att_context_style": "chunked_limited",
    "conv_norm_type": "layer_norm",
    "conv_context_size": "causal",
}

# Frames that differ from each other, and decoders that hear it.
_GAINS = {"pre_encode.conv": 2, "pre_encode.out": 0.1, "joint.": 3, "lstm": 3, "decoder_layers": 4}

# What is added to the score of the blank, so that some frames are silent and some give several labels.
_BLANK_SCORES = {
    "rnnt": 10, "rnnt_stream": 10, "tdt": 3, "tdt_slow": 3.5, "hybrid_tdt": 6, "hybrid_stream": 7, "live_tdt": 3,
    "live_hybrid": 7, "multilingual": 10, "prompted_hybrid": 15,
}  # fmt: skip

# What each model changes in the base of its family; "/" stands for a step into a section.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnnt": ("transducer", {}),
    "rnnt_stream": (
        "transducer",
        {
            "preprocessor/normalize": "NA",
            "encoder": _STREAMING,
            "encoder/att_context_size": [[56, 13], [56, 6], [28, 1], [10, 0]],
        },
    ),
    "tdt": (
        "transducer",
        {
            "preprocessor/features": 128,
            "encoder/feat_in": 128,
            "encoder/use_bias": False,
            "encoder/xscaling": False,
            "decoder/prednet/pred_rnn_layers": 2,
            "joint/jointnet/dropout": 0.0,
            "joint/jointnet/activation": "tanh",
            "tdt": [0, 1, 2, 3, 4],
        },
    ),
    "tdt_slow": (
        "transducer",
        {
            "encoder/att_context_size": [20, 5],
            "encoder/conv_context_size": [6, 2],
            "preprocessor/preemph": None,
            "preprocessor/n_fft": 1024,
            "decoding/greedy": {"max_symbols_per_step": 3},
            "joint/jointnet/activation": "sigmoid",
            "tdt": [0, 2],
        },
    ),
    "ctc": ("ctc", {"encoder/xscaling": False}),
    "ctc_local": ("ctc", {"encoder/self_attention_model": "rel_pos_local_attn", "encoder/att_context_size": [9, 9]}),
    "hybrid_tdt": (
        "hybrid",
        {
            "preprocessor/features": 128,
            "encoder/feat_in": 128,
            "joint/jointnet/activation": "tanh",
            "tdt": [0, 1, 2, 3, 4],
        },
    ),
    "hybrid_stream": (
        "hybrid",
        {
            "preprocessor/normalize": "NA",
            "encoder": _STREAMING,
            "encoder/conv_norm_type": "batch_norm",
            "encoder/causal_downsampling": False,
            "encoder/att_context_size": [[-1, 3], [12, 3]],
            "joint/jointnet/activation": "tanh",
        },
    ),
    "live_tdt": (
        "transducer",
        {
            "preprocessor/normalize": "NA",
            "preprocessor/features": 128,
            "encoder": _STREAMING,
            "encoder/feat_in": 128,
            "encoder/use_bias": False,
            "encoder/xscaling": False,
            "encoder/att_context_size": [[35, 6], [6, 1], [3, 0]],
            "decoder/prednet/pred_rnn_layers": 2,
            "joint/jointnet/activation": "tanh",
            "tdt": [0, 1, 2, 3, 4, 20],
        },
    ),
    "multilingual": (
        "transducer",
        {
            "preprocessor/normalize": "NA",
            "encoder": _STREAMING,
            "encoder/att_context_size": [[56, 13], [56, 6], [56, 1], [56, 0]],
            "joint/jointnet/joint_hidden": 20,
            "prompts": PROMPTS,
        },
    ),
    "prompted_hybrid": (
        "hybrid",
        {
            "preprocessor/normalize": "NA",
            "encoder": _STREAMING,
            "encoder/conv_norm_type": "batch_norm",
            "encoder/att_context_size": [[12, 3], [9, 0]],
            "prompts": {"de": 2, "no": 1, "auto": 0},
        },
    ),
    "live_hybrid": (
        "hybrid",
        {
            "preprocessor/normalize": "NA",
            "encoder": _STREAMING,
            "encoder/conv_norm_type": "batch_norm",
            "encoder/att_context_size": [[12, 3], [9, 0]],
        },
    ),
}  # fmt: skip


def config(name: str) -> dict[str, Any]:
    """Return the configuration of a model as NeMo writes it."""
    family, changes = copy.deepcopy(MODELS[name])
    values = _base(family)
    durations, prompts = changes.pop("tdt", None), changes.pop("prompts", None)
    for path, value in changes.items():
        section = values
        *steps, last = path.split("/")
        for step in steps:
            section = section[step]
        section[last] = {**section[last], **value} if isinstance(value, dict) else copy.deepcopy(value)
    if durations is not None:
        values["joint"]["num_extra_outputs"] = len(durations)
        values["decoding"] |= {"model_type": "tdt", "durations": durations}
        values["loss"] = {"loss_name": "tdt", "tdt_kwargs": {"durations": durations, "sigma": 0.02, "omega": 0.1}}
        values["model_defaults"] |= {"tdt_durations": durations, "num_tdt_durations": len(durations)}
    if prompts is not None:
        values["target"] = _WITH_PROMPT[family]
        values["num_prompts"] = 6
        values["model_defaults"] |= {"initialize_prompt_feature": True, "num_prompts": 6, "prompt_dictionary": prompts}
    return values


def build(name: str, folder: Path) -> Path:
    """Write the archive of a model into `folder` and return its path."""
    values = config(name)
    tensors = weights(values, seed=crc32(name.encode()))
    for key in tensors:
        if key.startswith("joint.joint_net") and key.endswith("bias"):
            tensors[key][VOCABULARY] = _BLANK_SCORES[name]
    return write(folder / f"{name}.nemo", values, tensors)


def write(path: Path, values: Mapping[str, Any], tensors: Mapping[str, Tensor], mode: str = "w") -> Path:
    """Write an archive with a given configuration and weights; `mode` "w:gz" makes it a gzipped one."""
    from tools.training import archive

    archive.write(path, values, tensors, TOKENIZER.read_bytes(), mode)
    return path


def weights(values: Mapping[str, Any], seed: int) -> dict[str, Tensor]:
    """Draw weights for a configuration, large enough that the decoders have something to say."""
    import torch

    from auricle.fastconformer.network import Network
    from auricle.fastconformer.reading import parse_config
    from tools.training.mels import mel_filters

    parsed = parse_config(dict(values))
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in Network(parsed).state_dict().items()}
    features = parsed.features
    rng = np.random.default_rng(seed)
    drawn = {key: torch.from_numpy(_draw(key, shapes[key], rng)) for key in sorted(shapes)}
    drawn["preprocessor.featurizer.window"] = torch.hann_window(features.window_samples, periodic=False)
    mels = mel_filters(features.sample_rate, features.n_fft, features.mels)
    drawn["preprocessor.featurizer.fb"] = torch.from_numpy(mels)[None]
    if "decoder.prediction.embed.weight" in drawn:
        drawn["decoder.prediction.embed.weight"][VOCABULARY] = 0.0
    return drawn


def recording(samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Return a gliding tone with noise that comes and goes, in sixteen-bit steps so that it is the same everywhere."""
    time = np.arange(samples) / RATE_HZ
    noise = np.random.default_rng(seed).uniform(-1.0, 1.0, samples)
    tone = np.sin(2 * np.pi * (300 + 200 * np.sin(2.1 * time + seed)) * time)
    loudness = 0.15 + 0.1 * np.sin(2 * np.pi * 1.7 * time)
    samples_16 = np.round(32767 * loudness * (0.7 * tone + 0.3 * noise * (np.sin(5.3 * time) > 0)))
    return (samples_16 / 32768).astype(np.float32)


def _draw(key: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    if key.endswith("num_batches_tracked"):
        return np.array(0, np.int64)
    values = rng.uniform(-1.0, 1.0, shape)
    if key.endswith("running_var"):
        values = 1 + 0.5 * values
    elif len(shape) == 1 and key.endswith("weight"):
        values = 1 + 0.2 * values
    elif len(shape) == 1 or "pos_bias" in key:
        values *= 0.1
    elif "embed" not in key:
        loud = next((gain for part, gain in _GAINS.items() if part in key), 1)
        values *= loud * math.sqrt(3 / math.prod(shape[1:]))
    return values.astype(np.float32)


def _base(family: str) -> dict[str, Any]:
    network: dict[str, Any] = {
        "decoder": {
            "_target_": _MODULES + "RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": 20, "pred_rnn_layers": 1, "t_max": None, "dropout": 0.2},
            "vocab_size": VOCABULARY,
        },
        "joint": {
            "_target_": _MODULES + "RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "jointnet": {
                "joint_hidden": 28,
                "activation": "relu",
                "dropout": 0.2,
                "encoder_hidden": 32,
                "pred_hidden": 20,
            },
            "num_classes": VOCABULARY,
        },
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": 10}, "beam": {"beam_size": 2}},
        "loss": {"loss_name": "default"},
        "model_defaults": {"enc_hidden": 32, "pred_hidden": 20, "joint_hidden": 28},
    }
    ctc: dict[str, Any] = {
        "decoder": {"_target_": _MODULES + "ConvASRDecoder", "feat_in": 32, "num_classes": VOCABULARY},
        "decoding": {"strategy": "greedy"},
    }
    if family == "hybrid":
        network["aux_ctc"] = {"ctc_loss_weight": 0.3, "use_cer": False, "ctc_reduction": "mean_batch", **ctc}
    return {
        **(ctc if family == "ctc" else network),
        "target": _CLASSES[family],
        "nemo_version": "3.0.0",
        "sample_rate": RATE_HZ,
        "tokenizer": {
            "type": "bpe",
            "dir": "unused",
            "model_path": f"nemo:{TOKENIZER.name}",
            "vocab_path": "nemo:vocab.txt",
        },
        "preprocessor": {
            "_target_": _MODULES + "AudioToMelSpectrogramPreprocessor",
            "sample_rate": RATE_HZ,
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": 80,
            "n_fft": 512,
            "log": True,
            "frame_splicing": 1,
            "dither": 0.00001,
            "pad_to": 16,
            "pad_value": 0.0,
        },
        "encoder": {
            "_target_": _MODULES + "ConformerEncoder",
            "feat_in": 80,
            "feat_out": -1,
            "n_layers": 2,
            "d_model": 32,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 8,
            "causal_downsampling": False,
            "ff_expansion_factor": 2,
            "self_attention_model": "rel_pos",
            "n_heads": 4,
            "att_context_size": [-1, -1],
            "att_context_style": "regular",
            "xscaling": True,
            "pos_emb_max_len": 5000,
            "conv_kernel_size": 9,
            "conv_norm_type": "batch_norm",
            "conv_context_size": None,
            "dropout": 0.1,
            "dropout_pre_encoder": 0.1,
            "dropout_emb": 0.0,
            "dropout_att": 0.1,
        },
    }


if __name__ == "__main__":
    for model in MODELS:
        print(build(model, Path(sys.argv[1])))  # noqa: T201  # a script
