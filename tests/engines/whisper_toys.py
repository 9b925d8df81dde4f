"""A Whisper of 0.2 M random weights with a byte for a token: it says something to anything, always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.audio import Audio

if TYPE_CHECKING:
    from pathlib import Path

RATE = 16_000
TIMES = 1501
LANGUAGES = ("en", "de", "fr")


def noises(seconds: tuple[float, ...] = (3.0, 1.8, 2.2)) -> list[Audio]:
    """Loud noise, each its own."""
    sources = [np.random.default_rng(seed) for seed in range(len(seconds))]
    return [
        Audio(source.normal(0, 0.1, round(length * RATE)).astype(np.float32), RATE, f"noise-{length}")
        for source, length in zip(sources, seconds, strict=True)
    ]


def _tokenizer(languages: tuple[str, ...]) -> Any:
    """A byte for a token, and Whisper's marks."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = [f"<|{language}|>" for language in languages]
    end, start = "<|endoftext|>", "<|startoftranscript|>"
    tasks = ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    special = [end, start, *marks, *tasks]
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, bos_token=end, unk_token=end, additional_special_tokens=special[1:]
    )


def whisper(folder: Path, languages: tuple[str, ...] = LANGUAGES) -> Path:
    """Write the folder that transformers reads, tokenizer and all."""
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    tokenizer = _tokenizer(languages)
    known = tokenizer.get_vocab()
    end, start = "<|endoftext|>", "<|startoftranscript|>"
    ends = {
        "bos_token_id": known[end],
        "eos_token_id": known[end],
        "pad_token_id": known[end],
        "decoder_start_token_id": known[start],
        "suppress_tokens": [],
        "begin_suppress_tokens": [],
    }
    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    torch.manual_seed(0)
    config = WhisperConfig(vocab_size=len(known) + TIMES, init_std=0.3, **sizes, **heads, **ends)
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        lang_to_id={f"<|{one}|>": known[f"<|{one}|>"] for one in languages},
        task_to_id={"transcribe": known["<|transcribe|>"], "translate": known["<|translate|>"]},
        no_timestamps_token_id=known["<|notimestamps|>"],
        prev_sot_token_id=known["<|startofprev|>"],
        is_multilingual=True,
        max_initial_timestamp_index=50,
        return_timestamps=False,
        max_length=24,
        alignment_heads=[[0, 0], [1, 1]],
        **ends,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def ctranslate2_whisper(folder: Path, source: Path, quantization: str | None = None) -> Path:
    """Convert the one in `source` for CTranslate2."""
    from ctranslate2.converters import TransformersConverter

    files = ["tokenizer.json", "preprocessor_config.json"]
    TransformersConverter(str(source), copy_files=files).convert(str(folder), quantization=quantization, force=True)
    return folder


def moonshine(folder: Path) -> Path:
    """Write a Moonshine of random weights with the tokenizer of `whisper`."""
    import torch
    from transformers import MoonshineConfig, MoonshineForConditionalGeneration, Wav2Vec2FeatureExtractor

    tokenizer = _tokenizer(("en",))
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eos_token_id)
    torch.manual_seed(0)
    config = MoonshineConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=1,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        initializer_range=0.3,
        decoder_start_token_id=tokenizer.eos_token_id,
        **ends,
    )
    MoonshineForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False).save_pretrained(folder)
    return folder
