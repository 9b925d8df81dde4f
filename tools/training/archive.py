"""`.nemo` archives of the models that are trained here: configuration, tokenizer and weights as NeMo has them.

The same model gives the same bytes.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sentencepiece
import torch
import yaml

from auricle.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

RATE_HZ = 16_000
# Frames of 80 ms to the left, and lookaheads of 1.12 s, 560 ms, 160 ms and 80 ms.
CONTEXTS = ((70, 13), (70, 6), (70, 1), (70, 0))
_MODULES = "nemo.collections.asr.modules."
_TOKENIZER, _VOCABULARY = "tokenizer.model", "vocab.txt"


@dataclass(frozen=True, slots=True)
class Size:
    """How large a model is: `layers` of `width`, and the channels of the convolutions before them."""

    layers: int = 5
    width: int = 128
    heads: int = 4
    expansion: int = 2
    channels: int = 16
    kernel: int = 9
    hidden: int = 128


def tokenizer(texts: Sequence[str], kind: str, pieces: int) -> bytes:
    """Return a SentencePiece model of exactly so many `pieces`, of `kind` "bpe" or "word", learned from the texts."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type=kind,
        vocab_size=pieces,
        character_coverage=1.0,
        normalization_rule_name="identity",
        bos_id=-1,
        eos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def config(size: Size, pieces: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a cache-aware streaming RNN-T as NeMo writes it."""
    joint = {"encoder_hidden": size.width, "pred_hidden": size.hidden, "joint_hidden": size.hidden}
    return {
        "target": "nemo.collections.asr.models.rnnt_bpe_models.EncDecRNNTBPEModel",
        "nemo_version": "3.0.0",
        "sample_rate": RATE_HZ,
        "model_defaults": {
            "enc_hidden": size.width,
            "pred_hidden": size.hidden,
            "joint_hidden": size.hidden,
        },
        "tokenizer": {
            "type": "bpe",
            "dir": "unused",
            "model_path": f"nemo:{_TOKENIZER}",
            "vocab_path": f"nemo:{_VOCABULARY}",
        },
        "preprocessor": {
            "_target_": _MODULES + "AudioToMelSpectrogramPreprocessor",
            "sample_rate": RATE_HZ,
            "normalize": "NA",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": 80,
            "n_fft": 512,
            "log": True,
            "frame_splicing": 1,
            "dither": 0.00001,
            "pad_to": 0,
            "pad_value": 0.0,
        },
        "encoder": _encoder(size),
        "decoder": {
            "_target_": _MODULES + "RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": size.hidden, "pred_rnn_layers": 1, "t_max": None, "dropout": 0.1},
            "vocab_size": len(pieces),
        },
        "joint": {
            "_target_": _MODULES + "RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "jointnet": {**joint, "activation": "relu", "dropout": 0.1},
            "num_classes": len(pieces),
            "vocabulary": list(pieces),
        },
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": 10}, "beam": {"beam_size": 2}},
        "loss": {"loss_name": "default"},
    }


def _encoder(size: Size) -> dict[str, Any]:
    return {
        "_target_": _MODULES + "ConformerEncoder",
        "feat_in": 80,
        "feat_out": -1,
        "n_layers": size.layers,
        "d_model": size.width,
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": size.channels,
        "causal_downsampling": True,
        "ff_expansion_factor": size.expansion,
        "self_attention_model": "rel_pos",
        "n_heads": size.heads,
        "att_context_size": [list(context) for context in CONTEXTS],
        "att_context_style": "chunked_limited",
        "xscaling": False,
        "pos_emb_max_len": 5000,
        "conv_kernel_size": size.kernel,
        "conv_norm_type": "layer_norm",
        "conv_context_size": "causal",
        "dropout": 0.1,
        "dropout_pre_encoder": 0.1,
        "dropout_emb": 0.0,
        "dropout_att": 0.1,
    }


def pieces_of(model: bytes) -> list[str]:
    """Return the pieces of a SentencePiece model in the order of their indices."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [str(processor.id_to_piece(index)) for index in range(processor.get_piece_size())]


def write(path: Path, values: Mapping[str, Any], tensors: Mapping[str, Tensor], model: bytes, mode: str = "w") -> None:
    """Write an archive: configuration, weights, and the SentencePiece model; `mode` "w:gz" makes it a gzipped one."""
    saved = io.BytesIO()
    torch.save(dict(tensors), saved)
    members = {
        "model_config.yaml": yaml.safe_dump(dict(values), allow_unicode=True, sort_keys=False).encode(),
        "model_weights.ckpt": saved.getvalue(),
        _TOKENIZER: model,
        _VOCABULARY: "\n".join(pieces_of(model)[1:]).encode(),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload]  # any mode that writes
        for name, data in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with atomic_path(path) as temporary:
        temporary.write_bytes(packed.getvalue())
