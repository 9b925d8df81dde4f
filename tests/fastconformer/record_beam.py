"""Record what NeMo 3.0.0 finds by beam search and with key phrases: `beam.npz` beside this file.

Run it in an environment of its own that has `nemo-toolkit[asr]==3.0.0` and `av`, with this repository on the path:
`PYTHONPATH=src:. python -m tests.fastconformer.record_beam FOLDER`, where FOLDER is the evaluation data. The strategies
are `malsd_batch` and `greedy_batch`, with the phrases of `beam_cases` in a boosting tree of weight 1.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.fastconformer.beam_cases import CASES, GOLDEN, Case, archive, audio


def record(case: Case, model: Any, samples: list[np.ndarray[Any, np.dtype[np.float32]]]) -> dict[str, Any]:
    """Return tokens, frames, durations and scores of every recording of a case, decoded together."""
    if case.lookahead:
        model.encoder.set_default_att_context_size(list(model.encoder.att_context_size_all[case.lookahead]))
    _decode_with(model, case)
    model.eval()
    lengths = torch.tensor([len(one) for one in samples])
    together = torch.zeros(len(samples), int(lengths.max()))
    for row, one in zip(together, samples, strict=True):
        row[: len(one)] = torch.from_numpy(one)
    with torch.inference_mode():
        features, feature_lengths = model.preprocessor(input_signal=together, length=lengths)
        output, output_lengths = model.encoder(audio_signal=features, length=feature_lengths)
        found = model.decoding.rnnt_decoder_predictions_tensor(output, output_lengths, return_hypotheses=True)
    tokens = [list(map(int, one.y_sequence)) for one in found]
    frames = [list(map(int, one.timestamp)) for one in found]
    return {
        "counts": np.array([len(one) for one in tokens]),
        "tokens": np.concatenate(tokens).astype(np.int16),
        "frames": np.concatenate(frames).astype(np.int16),
        "scores": np.array([float(one.score) for one in found], np.float32),
        "texts": np.array([one.text for one in found]),
    }


def _decode_with(model: Any, case: Case) -> None:
    omegaconf: Any = import_module("omegaconf")
    decoding = model.cfg.decoding
    most = decoding.get("greedy", {}).get("max_symbols", 10)
    tree = {"key_phrases_list": list(case.phrases) or None, "use_triton": False}
    with omegaconf.open_dict(decoding):
        decoding.strategy = "malsd_batch" if case.beam else "greedy_batch"
        if case.beam:
            decoding.beam = {
                "beam_size": case.beam, "search_type": "malsd_batch", "max_symbols": most, "score_norm": True,
                "return_best_hypothesis": True, "allow_cuda_graphs": False, "boosting_tree": tree,
                "boosting_tree_alpha": 1.0, "pruning_mode": "late", "blank_lm_score_mode": "no_score",
            }  # fmt: skip
        else:
            decoding.greedy = {"max_symbols": most, "boosting_tree": tree, "boosting_tree_alpha": 1.0}
    if hasattr(model, "ctc_decoder"):
        model.change_decoding_strategy(decoding, decoder_type="rnnt")
    else:
        model.change_decoding_strategy(decoding)


def main() -> None:
    """Record every case."""
    torch.set_num_threads(1)
    nemo: Any = import_module("nemo.collections.asr.models")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            path = archive(case, Path(sys.argv[1]), Path(folder))
            model = nemo.ASRModel.restore_from(str(path), map_location="cpu")
            model.joint.set_fuse_loss_wer(False)
            recorded = record(case, model, audio(case, Path(sys.argv[1])))
            results |= {f"{case}/{key}": value for key, value in recorded.items()}
            print(case, recorded["counts"], recorded["scores"], recorded["texts"])  # noqa: T201  # a script
    np.savez_compressed(GOLDEN, **results)


if __name__ == "__main__":
    main()
