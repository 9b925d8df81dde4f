"""Record what NeMo 3.0.0's cache-aware steps emit for a seeded checkpoint: `steps.npz` beside this file.

Run it as `record_golden`: `PYTHONPATH=src:. python -m tests.fastconformer.record_steps`.
"""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.fastconformer.checkpoints import build, recording
from tests.fastconformer.steps import LOOKAHEADS, MODEL, SAMPLES, STEPS


def steps(model: Any, audio: Any) -> tuple[Any, list[int]]:
    """Return the encoder frames `(frames, width)` of all steps over a recording, and how many each step emitted."""
    buffers: Any = import_module("nemo.collections.asr.parts.utils.streaming_utils")
    buffer = buffers.CacheAwareStreamingAudioBuffer(
        model=model, online_normalization=False, pad_and_drop_preencoded=False
    )
    buffer.append_audio(audio, stream_id=-1)
    caches = model.encoder.get_initial_cache_state(batch_size=1)
    emitted = []
    for number, (chunk, length) in enumerate(buffer):
        with torch.inference_mode():
            out, out_length, *caches = model.encoder.cache_aware_stream_step(
                processed_signal=chunk,
                processed_signal_length=length,
                cache_last_channel=caches[0],
                cache_last_time=caches[1],
                cache_last_channel_len=caches[2],
                keep_all_outputs=buffer.is_buffer_empty(),
                drop_extra_pre_encoded=model.encoder.streaming_cfg.drop_extra_pre_encoded if number else 0,
            )
        emitted.append(out[0, :, : int(out_length)].T.numpy())
    return np.concatenate(emitted), [len(one) for one in emitted]


def main() -> None:
    """Record every lookahead and length."""
    torch.set_num_threads(1)
    nemo: Any = import_module("nemo.collections.asr.models")
    recorded: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = nemo.ASRModel.restore_from(str(build(MODEL, Path(folder))), map_location="cpu").eval()
        for lookahead in range(LOOKAHEADS):
            model.encoder.set_default_att_context_size(list(model.encoder.att_context_size_all[lookahead]))
            for samples in SAMPLES:
                frames, counts = steps(model, recording(samples))
                recorded |= {f"{lookahead}/{samples}/frames": frames, f"{lookahead}/{samples}/counts": counts}
                print(lookahead, samples, len(frames), counts)  # noqa: T201  a script
    np.savez_compressed(STEPS, **recorded)


if __name__ == "__main__":
    main()
