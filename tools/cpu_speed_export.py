"""Export a streaming RNN-T archive at one lookahead as sherpa-onnx reads it; run by NeMo's Python.

python tools/cpu_speed_export.py model.nemo 13 FOLDER
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx
import torch


def export(archive: Path, right: int, folder: Path) -> None:
    """Write encoder, decoder, joiner and tokens; sherpa-onnx ends the process over any metadata that is missing."""
    models = import_module("nemo.collections.asr").models
    model = models.ASRModel.restore_from(str(archive), map_location="cpu").eval()
    encoder = model.encoder
    encoder.set_default_att_context_size([encoder.att_context_size[0], right])
    model.set_export_config({"cache_support": True})
    folder.mkdir(parents=True)
    vocabulary = list(model.joint.vocabulary)
    lines = [f"{piece} {index}\n" for index, piece in enumerate([*vocabulary, "<blk>"])]
    (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "mels").write_text(str(model.cfg.preprocessor.features), encoding="utf-8")
    with torch.no_grad():
        for name, network in (("encoder", encoder), ("decoder", model.decoder), ("joiner", model.joint)):
            network.export(str(folder / f"{name}.onnx"))
    channel, time, _ = encoder.get_initial_cache_state(1)
    settings, normalize = encoder.streaming_cfg, model.cfg.preprocessor.normalize
    _describe(
        folder / "encoder.onnx",
        {
            "model_type": "EncDecHybridRNNTCTCBPEModel",
            "vocab_size": model.decoder.vocab_size,
            "window_size": settings.chunk_size[1] + settings.pre_encode_cache_size[1],
            "chunk_shift": settings.shift_size[1],
            "normalize_type": "" if normalize == "NA" else normalize,
            "subsampling_factor": 8,
            "feat_dim": model.cfg.preprocessor.features,
            "pred_rnn_layers": model.decoder.pred_rnn_layers,
            "pred_hidden": model.decoder.pred_hidden,
            **_dimensions("cache_last_channel", channel),
            **_dimensions("cache_last_time", time),
            "version": 1,
        },
    )


def _dimensions(name: str, cache: torch.Tensor) -> dict[str, int]:
    """Return the shape of a cache `(layers, batch, a, b)` without the batch, as sherpa-onnx names it."""
    shape = (cache.shape[0], cache.shape[2], cache.shape[3])
    return {f"{name}_dim{place}": size for place, size in enumerate(shape, start=1)}


def _describe(path: Path, metadata: dict[str, Any]) -> None:
    """Add metadata; the weights, which may be more than one protobuf holds, go into one file beside the model."""
    model = onnx.load(path)
    del model.metadata_props[:]
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, str(value)
    for old in path.parent.iterdir():
        if old.suffix != ".onnx" and old.name not in {"tokens.txt", "mels"}:
            old.unlink()
    onnx.save(model, path, save_as_external_data=True, all_tensors_to_one_file=True, location="encoder.weights")


if __name__ == "__main__":
    export(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
