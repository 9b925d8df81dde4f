"""The configuration of a checkpoint: `config.json` as transformers writes it, or as the first release has it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auricle.errors import ModelError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG_FILE = "config.json"
MODEL_TYPE = "qwen3_asr"
FEATURE_HZ = 100
"""Mel frames in a second."""

STRIDE = 2
CONVOLUTIONS = 3
_AGAIN = "get the checkpoint again"
_ROPE_THETA = 1_000_000.0
_END_TOKENS = (151_643, 151_645)
_AUDIO_TOKEN = 151_676


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """The audio encoder: `chunk` mel frames go through the convolutions at a time, `window` frames see each other."""

    mels: int
    layers: int
    heads: int
    width: int
    inner: int
    channels: int
    chunk: int
    window: int

    @property
    def chunk_tokens(self) -> int:
        """What a whole chunk becomes."""
        return tokens_of(self.chunk)

    @property
    def window_chunks(self) -> int:
        """Chunks that see each other in a recording."""
        return self.window // self.chunk

    def tokens(self, frames: int) -> int:
        """Return how many tokens so many mel frames become."""
        whole, rest = divmod(frames, self.chunk)
        return whole * self.chunk_tokens + tokens_of(rest)


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The language model."""

    vocabulary: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    width: int
    inner: int
    epsilon: float
    theta: float
    positions: int

    @property
    def kv_values(self) -> int:
        """Numbers that a position leaves in the cache: keys and values of all layers."""
        return 2 * self.layers * self.kv_heads * self.head


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A whole model; `end_tokens` are what it ends with, `audio_token` stands for a token of audio in a prompt."""

    encoder: EncoderConfig
    decoder: DecoderConfig
    audio_token: int
    end_tokens: tuple[int, ...]


def tokens_of(frames: int) -> int:
    """Return the frames that are left of a chunk's after the convolutions of stride two."""
    for _ in range(CONVOLUTIONS):
        frames = (frames + STRIDE - 1) // STRIDE
    return frames


def read_config(folder: Path) -> ModelConfig:
    """Read a folder's configuration; raises ModelError for a damaged one, UnsupportedError for another architecture."""
    path = folder / CONFIG_FILE
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError("the configuration cannot be read", f"{path}: {error}", _AGAIN) from error
    if not isinstance(values, dict) or values.get("model_type") != MODEL_TYPE:
        found = values.get("model_type") if isinstance(values, dict) else None
        raise UnsupportedError("the folder holds another model than Qwen3-ASR", f"{path}: {found}", "choose its engine")
    return make_config(values)


def make_config(values: Mapping[str, Any]) -> ModelConfig:
    """Make a configuration of what `config.json` holds; raises as `read_config` does."""
    inner = values.get("thinker_config", values)
    audio, text = _Table(inner, "audio_config"), _Table(inner, "text_config")
    _check(audio, text)
    encoder = EncoderConfig(
        mels=audio.integer("num_mel_bins"),
        layers=audio.integer("encoder_layers"),
        heads=audio.integer("encoder_attention_heads"),
        width=audio.integer("d_model"),
        inner=audio.integer("encoder_ffn_dim"),
        channels=audio.integer("downsample_hidden_size"),
        chunk=2 * audio.integer("n_window"),
        window=audio.integer("n_window_infer"),
    )
    if encoder.window % encoder.chunk or encoder.width % encoder.heads:
        raise ModelError("windows or heads of the encoder do not divide", f"{encoder}", _AGAIN)
    decoder = DecoderConfig(
        vocabulary=text.integer("vocab_size"),
        layers=text.integer("num_hidden_layers"),
        heads=text.integer("num_attention_heads"),
        kv_heads=text.integer("num_key_value_heads"),
        head=text.integer("head_dim"),
        width=text.integer("hidden_size"),
        inner=text.integer("intermediate_size"),
        epsilon=float(text.get("rms_norm_eps", 1e-6)),
        theta=float(text.get("rope_theta", text.get("rope_parameters", {}).get("rope_theta", _ROPE_THETA))),
        positions=text.integer("max_position_embeddings"),
    )
    ends = values.get("eos_token_id") or inner.get("eos_token_id") or _END_TOKENS
    return ModelConfig(
        encoder,
        decoder,
        int(inner.get("audio_token_id", _AUDIO_TOKEN)),
        tuple(int(end) for end in (ends if isinstance(ends, list | tuple) else [ends])),
    )


class _Table:
    """A part of the configuration, whose values are named in errors by their dotted names."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        part = values.get(name)
        if not isinstance(part, dict):
            raise ModelError("a part of the configuration is missing", name, _AGAIN)
        self._name = name
        self._values: dict[str, Any] = part

    def get(self, key: str, default: Any) -> Any:
        value = self._values.get(key)
        return default if value is None else value

    def integer(self, key: str) -> int:
        value = self._values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ModelError("an option of the model is malformed", f"{self._name}.{key} = {value!r:.80}", _AGAIN)
        return value


def _check(audio: _Table, text: _Table) -> None:
    """Refuse what would compute something else than this runtime does."""
    known = (
        (audio, "activation_function", "gelu"),
        (audio, "scale_embedding", False),
        (text, "hidden_act", "silu"),
        (text, "attention_bias", False),
        (text, "use_sliding_window", False),
        (text, "tie_word_embeddings", True),
    )
    for table, key, value in known:
        found = table.get(key, value)
        if found != value:
            raise UnsupportedError("this runtime cannot run a model with", f"{key} = {found!r:.80}", "use transformers")
    parameters = text.get("rope_parameters", {}) or {}
    kind = parameters.get("rope_type", "default")
    if kind != "default":
        raise UnsupportedError("this runtime cannot run a model with", f"rope_type = {kind!r:.80}", "use transformers")
