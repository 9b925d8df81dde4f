"""Fit a small Emformer to four sentences of the demo corpus, with torchaudio's own network: the folder `fitted`.

Run it as `record_golden.py` is run: `PYTHONPATH=src:. python -m tests.emformer.fit`. It takes four minutes of one core.
What it gets wrong of what it knows is a mistake of whoever runs it; weights are kept in half precision, which single
precision holds exactly.
"""

from __future__ import annotations

import io
import json
import math
import time
from importlib import import_module
from typing import Any

import sentencepiece
import torch
from torch.nn.functional import pad

from tests.emformer.checkpoints import FITTED, SIZES
from tests.emformer.record_golden import base, without_extension
from tests.emformer.speech import SENTENCES, spoken
from tools.training.loss import transducer_loss

PIECES = 56
STEPS, SECONDS = 2_000, 200.0
RATE, WARM_STEPS = 4e-3, 50


def main() -> None:
    """Train, and write the three files."""
    without_extension()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    models: Any = import_module("torchaudio.models.rnnt")
    transforms: Any = import_module("torchaudio.transforms")
    pipeline: Any = import_module("torchaudio.pipelines.rnnt_pipeline")
    FITTED.mkdir(exist_ok=True)
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES.values()), model_writer=written, vocab_size=PIECES, model_type="bpe",
        bos_id=-1, normalization_rule_name="identity", hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (FITTED / "spm_bpe_4096_librispeech.model").write_bytes(written.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    mel = transforms.MelSpectrogram(sample_rate=16_000, n_fft=400, n_mels=80, hop_length=160)
    logs = [
        pipeline._piecewise_linear_log(mel(torch.from_numpy(spoken(name))).T * pipeline._gain) for name in SENTENCES
    ]
    mean, deviation = torch.cat(logs).mean(0), torch.cat(logs).std(0)
    statistics = {"mean": mean.tolist(), "invstddev": (1 / deviation).tolist()}
    (FITTED / "global_stats_rnnt_librispeech.json").write_text(json.dumps(statistics), encoding="utf-8")
    features = [pad((one - mean) / deviation, (0, 0, 0, 4)) for one in logs]
    labels = [torch.tensor([processor.encode(text)]) for text in SENTENCES.values()]
    kinds = processor.get_piece_size() + 1
    model = models.emformer_rnnt_model(**base(kinds), **SIZES).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    start = time.monotonic()
    for step in range(STEPS):
        done = max(step / STEPS, (time.monotonic() - start) / SECONDS)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_STEPS) * (0.5 + 0.5 * math.cos(math.pi * done))
        losses = []
        for heard, said in zip(features, labels, strict=True):
            # Later starts, so that segments begin anywhere, and a little noise.
            shift = int(torch.randint(16, ()))
            moved = heard[shift:] + 0.1 * torch.randn(len(heard) - shift, heard.shape[1])
            told = pad(said, (1, 0), value=kinds - 1)
            scores, _, _, _ = model(moved[None], torch.tensor([len(moved)]), told, torch.tensor([told.shape[1]]))
            count = torch.tensor([said.shape[1]])
            losses.append(transducer_loss(scores, torch.tensor([scores.shape[1]]), said, count).sum() / said.shape[1])
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # of torch
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(step, round(time.monotonic() - start), loss.item())  # noqa: T201  a script
    halves = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    torch.save(halves, FITTED / "emformer_rnnt_base_librispeech.pt")


if __name__ == "__main__":
    main()
