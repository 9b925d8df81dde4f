"""Small checkpoints of Qwen3-ASR with random weights from a seed, written as transformers writes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3ASRConfig, Qwen3ASRForConditionalGeneration

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE_HZ = 16_000
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>")
MARKER = "<asr_text>"
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
VOCABULARY = {letter: number for number, letter in enumerate(BYTES)}
NUMBERS = {token: len(BYTES) + place for place, token in enumerate((*SPECIAL, MARKER))}
TERSE = 2.0
"""How much larger the token that ends an answer is than others, so that it is said soon."""

ENDS = [NUMBERS["<|endoftext|>"], NUMBERS["<|im_end|>"]]


def configuration(**changes: Any) -> Qwen3ASRConfig:
    """A tiny model whose chunks and windows are those of the real ones."""
    audio = {
        "num_mel_bins": 128,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 48,
        "d_model": 32,
        "output_dim": 40,
        "downsample_hidden_size": 8,
    }
    text = {
        "vocab_size": len(BYTES) + len(NUMBERS),
        "hidden_size": 40,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 8_192,
        "tie_word_embeddings": True,
    }
    return Qwen3ASRConfig(
        audio_config=audio | changes.pop("audio", {}),
        text_config=text | changes.pop("text", {}),
        audio_token_id=NUMBERS["<|audio_pad|>"],
        eos_token_id=ENDS,
        pad_token_id=NUMBERS["<|endoftext|>"],
        **changes,
    )


def network(seed: int = 0, config: Qwen3ASRConfig | None = None) -> Any:
    """A model with random weights, larger than they are made by default, so that what is heard decides what is said."""
    torch.manual_seed(seed)
    model = Qwen3ASRForConditionalGeneration(config or configuration()).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn_like(weight) * (1.4 / weight[0].numel() ** 0.5))
            elif name.endswith("bias"):
                weight.copy_(torch.randn_like(weight) * 0.1)
            else:
                weight.copy_(1 + 0.1 * torch.randn_like(weight))
        model.get_input_embeddings().weight[ENDS[1]] *= TERSE
    model.generation_config.eos_token_id = ENDS
    model.generation_config.pad_token_id = ENDS[0]
    return model


def plant_overflow(model: Any) -> None:
    """Make the inside of a feed-forward part too large for fp16; what leaves the part stays as it was."""
    mlp = model.model.language_model.layers[1].mlp
    with torch.no_grad():
        mlp.up_proj.weight.mul_(2.0**15)
        mlp.down_proj.weight.mul_(2.0**-15)


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer of bytes with the tokens of control."""
    tokenizer = Tokenizer(models.BPE(vocab=VOCABULARY, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(MARKER, special=False)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=SPECIAL[2]).save_pretrained(folder)


def write_vocabulary(folder: Path) -> None:
    """Write the same tokenizer as the model's first release has it: a vocabulary, merges, and tokens beside them."""
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    added = {
        str(number): {"content": token, "special": token != MARKER, "normalized": False, "lstrip": False,
                      "rstrip": False, "single_word": False}
        for token, number in NUMBERS.items()
    }  # fmt: skip
    told = {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": added, "eos_token": SPECIAL[2]}
    (folder / "tokenizer_config.json").write_text(json.dumps(told), "utf-8")


def write(folder: Path, model: Any) -> Path:
    """Write a model and its tokenizer into a folder."""
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def recording(samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise whose colour and loudness change, so that a model hears something else everywhere."""
    rng = np.random.default_rng([seed, samples])
    time = np.arange(samples) / RATE_HZ
    tone = np.sin(2 * np.pi * (200 + 1_500 * np.abs(np.sin(1.7 * time + seed))) * time)
    noise = rng.standard_normal(samples) * np.abs(np.sin(2.3 * time))
    return (0.1 * tone + 0.05 * noise).astype(np.float32)
