"""Record what NeMo 3.0.0 makes of the seeded checkpoints: `golden.npz` beside this file.

Run it in an environment of its own that has `nemo-toolkit[asr]==3.0.0`, with this repository on the path:
`PYTHONPATH=src:. python -m tests.fastconformer.record_golden`. Beside encoder outputs, tokens, frames and texts it
records how many tokens come before the first decision whose top two scores are nearer than 1e-3: beyond it a token may
rightly differ. Given names of models it records these anew and keeps what there is of the others.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tests.fastconformer.checkpoints import MODELS, build, recording
from tests.fastconformer.golden import CASES, GOLDEN, Case, sampled

SURE_MARGIN = 1e-3


class Found(NamedTuple):
    """The tokens of one recording, their frames and text, how many come before the first tie, and if there is none."""

    tokens: list[int]
    frames: list[int]
    text: str
    sure: int
    settled: bool


def record(case: Case, model: Any) -> dict[str, Any]:
    """Return NeMo's results for the recordings of one case, each computed alone."""
    _attend(model, case)
    encoded, results = [], []
    for seed, samples in enumerate(case.samples):
        audio, length = torch.from_numpy(recording(samples, seed))[None], torch.tensor([samples])
        with torch.inference_mode():
            features, feature_length = model.preprocessor(input_signal=audio, length=length)
            output, output_length = model.encoder(audio_signal=features, length=feature_length)
            if case.language is not None:
                model.set_inference_prompt(case.language)
                output = model._apply_prompt_to_encoded(output)
        encoded.append(output[0, :, : int(output_length)].T.numpy())
        results.append((_ctc if case.head == "ctc" else _transducer)(model, output, output_length))
    return {
        "encoded": np.concatenate([sampled(one) for one in encoded]),
        "lengths": np.array([len(one) for one in encoded]),
        "tokens": np.concatenate([one.tokens for one in results]).astype(np.int16),
        "frames": np.concatenate([one.frames for one in results]).astype(np.int16),
        "counts": np.array([len(one.tokens) for one in results]),
        "texts": np.array([one.text for one in results]),
        "sure": np.array([one.sure for one in results]),
        "settled": np.array([one.settled for one in results]),
    }


def _attend(model: Any, case: Case) -> None:
    if case.window is not None:
        weights = model.encoder.state_dict()
        model.encoder.change_attention_model("rel_pos_local_attn", list(case.window))
        model.encoder.load_state_dict(weights)
    elif case.lookahead:
        model.encoder.set_default_att_context_size(list(model.encoder.att_context_size_all[case.lookahead]))
    model.eval()


def _transducer(model: Any, output: Any, length: Any) -> Found:
    model.joint.set_fuse_loss_wer(False)
    found = model.decoding.rnnt_decoder_predictions_tensor(output, length, return_hypotheses=True)[0]
    durations = len(model.cfg.decoding.get("durations", []) or [])
    sure, settled = 0, True
    for scores, label in (step for steps in found.alignments for step in steps):
        kinds = len(scores) - durations
        if min(_margin(scores[:kinds]), _margin(scores[kinds:])) < SURE_MARGIN:
            settled = False
            break
        sure += int(label) != kinds - 1
    return Found(list(map(int, found.y_sequence)), list(map(int, found.timestamp)), found.text, sure, settled)


def _ctc(model: Any, output: Any, length: Any) -> Found:
    hybrid = hasattr(model, "ctc_decoder")
    decoding = model.ctc_decoding if hybrid else model.decoding
    with torch.inference_mode():
        scores = (model.ctc_decoder if hybrid else model.decoder)(encoder_output=output)
    found = decoding.ctc_decoder_predictions_tensor(scores, decoder_lengths=length, return_hypotheses=True)[0]
    rows = scores[0, : int(length)]
    labels = [-1, *rows.argmax(-1).tolist()]
    starts = [place for place, label in enumerate(labels[1:]) if label not in {rows.shape[1] - 1, labels[place]}]
    unsure = next((place for place, row in enumerate(rows) if _margin(row) < SURE_MARGIN), len(rows))
    sure = sum(place < unsure for place in starts)
    return Found([labels[place + 1] for place in starts], starts, found.text, sure, unsure == len(rows))


def _margin(scores: Any) -> float:
    if len(scores) <= 1:
        return float("inf")
    best = scores.float().topk(2).values
    return float(best[0] - best[1])


def _restored(path: Path, case: Case) -> Any:
    nemo: Any = import_module("nemo.collections.asr.models")
    omegaconf: Any = import_module("omegaconf")
    model = nemo.ASRModel.restore_from(str(path), map_location="cpu")
    if case.head != "ctc":
        decoding = model.cfg.decoding
        with omegaconf.open_dict(decoding):
            decoding.preserve_alignments = True
        model.change_decoding_strategy(decoding)
    return model.eval()


def main() -> None:
    """Record every case."""
    torch.set_num_threads(1)
    chosen = [case for case in CASES if case.model in sys.argv[1:] or len(sys.argv) == 1]
    results: dict[str, Any] = {}
    if len(chosen) < len(CASES):
        with np.load(GOLDEN) as file:
            results |= file
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: build(name, Path(folder)) for name in MODELS}
        for case in chosen:
            recorded = record(case, _restored(paths[case.model], case))
            results |= {f"{case}/{key}": value for key, value in recorded.items()}
            print(case, *(f"{key} {recorded[key]}" for key in ("lengths", "counts", "sure")))  # noqa: T201  # a script
    np.savez_compressed(GOLDEN, **results)


if __name__ == "__main__":
    main()
