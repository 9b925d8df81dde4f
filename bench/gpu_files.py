"""Whole recordings on an accelerator, from host memory to tokens: how many seconds of audio in a second."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.fastconformer.archive import Archive
from auricle.fastconformer.device.whole import DeviceFastConformer
from bench.gpu_model import draw_for_files, sound, tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.config import ModelConfig
    from auricle.fastconformer.precision import Precision

TURNS = 6
SECONDS = 25
STAGES = ("features", "encoder", "decode")


def file_model(precision: Precision) -> DeviceFastConformer:
    """Return a TDT model of 0.6 billion parameters on the card."""
    config, weights = _drawn()
    return DeviceFastConformer(Archive(config, dict(weights), tokenizer()), torch.device("cuda"), precision)


@cache
def _drawn() -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    return draw_for_files(sound(SECONDS, 8))


def offline(precisions: Sequence[Precision], batches: Sequence[int]) -> list[dict[str, object]]:
    """Return RTFx of a TDT model of 0.6 billion parameters on clips of 25 s, the first turn left out."""
    audio = list(sound(SECONDS))
    found: list[dict[str, object]] = []
    for precision in precisions:
        model = file_model(precision)
        for batch in batches:
            clips = [audio[number % len(audio)] for number in range(batch)]
            turns = [_turn(model, clips) for _ in range(TURNS)][1:]
            total = float(np.median([sum(each) for each, _ in turns]))
            found.append(
                {
                    "precision": precision,
                    "batch": batch,
                    "clip_s": SECONDS,
                    "rtfx": round(SECONDS * batch / total),
                    **{
                        f"{name}_ms": round(1000 * float(np.median([each[number] for each, _ in turns])), 2)
                        for number, name in enumerate(STAGES)
                    },
                    "tokens_per_s": round(turns[0][1] / (SECONDS * batch), 2),
                    "decode_graphed": model.runs.graphed,
                    "decode_eager": model.runs.eager,
                }
            )
        del model
        torch.cuda.empty_cache()
    return found


def _turn(model: DeviceFastConformer, clips: Sequence[NDArray[np.float32]]) -> tuple[list[float], int]:
    """Return the seconds of each stage, and how many tokens there were."""
    marks = [time.perf_counter()]
    features = model.features(clips)
    torch.cuda.synchronize()
    marks.append(time.perf_counter())
    encoded = model.encode_features(*features)
    torch.cuda.synchronize()
    marks.append(time.perf_counter())
    tokens = model.decode(*encoded)
    marks.append(time.perf_counter())
    return [float(each) for each in np.diff(marks)], sum(map(len, tokens))
