"""What transformers' own model makes of recordings, for the tests to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import Qwen3ASRFeatureExtractor

from tests.qwen3.checkpoints import ENDS, NUMBERS, RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.qwen3.model import Qwen3Asr


def features(samples: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
    """The features of one recording and which frames are its own, as the processor makes them."""
    made = Qwen3ASRFeatureExtractor()(
        [samples], sampling_rate=RATE_HZ, padding=True, return_attention_mask=True, return_tensors="pt"
    )
    return made["input_features"], made["attention_mask"]


@torch.no_grad()
def encoded(network: Any, samples: NDArray[np.float32]) -> torch.Tensor:
    """What the decoder reads of one recording."""
    tokens: torch.Tensor = network.get_audio_features(*features(samples)).pooler_output
    return tokens


@torch.no_grad()
def generated(network: Any, model: Qwen3Asr, recordings: Sequence[NDArray[np.float32]], tokens: int) -> list[list[int]]:
    """The tokens of `generate` for recordings in one batch, padded on the left as the processor pads."""
    made = [features(samples) for samples in recordings]
    longest = max(each.shape[-1] for each, _ in made)
    mel = torch.cat([torch.nn.functional.pad(each, (0, longest - each.shape[-1])) for each, _ in made])
    mask = torch.cat([torch.nn.functional.pad(each, (0, longest - each.shape[-1])) for _, each in made])
    prompts = []
    for row in mask:
        count = model.config.encoder.tokens(int(row.sum()))
        prompts.append([*model.prompts.head(), *[NUMBERS["<|audio_pad|>"]] * count, *model.prompts.tail])
    width = max(map(len, prompts))
    ids = torch.tensor([[ENDS[0]] * (width - len(prompt)) + prompt for prompt in prompts])
    attention = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    out = network.generate(
        input_ids=ids,
        attention_mask=attention,
        input_features=mel,
        input_features_mask=mask,
        do_sample=False,
        max_new_tokens=tokens,
    )
    return [_until_the_end(row) for row in out[:, width:].tolist()]


def _until_the_end(tokens: Sequence[int]) -> list[int]:
    ends = [place for place, token in enumerate(tokens) if token in ENDS]
    return list(tokens[: ends[0]] if ends else tokens)
