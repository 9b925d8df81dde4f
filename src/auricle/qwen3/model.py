"""A whole Qwen3-ASR model: recordings in, answers out, and what live streams share with files."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from auricle.errors import ModelError
from auricle.qwen3.cache import cache_bytes
from auricle.qwen3.config import read_config
from auricle.qwen3.decoder import Decoder
from auricle.qwen3.encoder import Encoder
from auricle.qwen3.features import HOP, RATE_HZ, SHORTEST, Features
from auricle.qwen3.folder import Weights
from auricle.qwen3.generate import Generator, Prompt
from auricle.qwen3.linear import Linear, Scratch
from auricle.qwen3.precision import Precisions
from auricle.qwen3.prompt import Prompts
from auricle.qwen3.stages import Meter
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from auricle.qwen3.linear import Layout
    from auricle.qwen3.prompt import Answer

TOKENS_PER_S = 20
"""More than anybody says in a second, in any script."""

SPARE_TOKENS = 24
"""What an answer has beside what is said: the language, for one."""


class Qwen3Asr:
    """A loaded model; one call at a time. Nothing that is asked of it changes it."""

    def __init__(
        self,
        folder: Path,
        precisions: Precisions | None = None,
        device: torch.device | None = None,
        layout: Layout = "both",
    ) -> None:
        """Load a folder; raises ModelError for a damaged one, UnsupportedError for another architecture.

        `layout` is that of the decoder's weights on a CPU: `both` is fastest for one recording and for several, and
        takes twice the memory of the others.
        """
        from transformers.models.qwen3_asr.processing_qwen3_asr import LANGUAGE_CODE_TO_NAME

        self.precisions = precisions or Precisions()
        self.device = device or torch.device("cpu")
        self.config = read_config(folder)
        self.prompts = Prompts(folder, LANGUAGE_CODE_TO_NAME)
        scratch = Scratch()
        with torch.inference_mode(), Weights(folder, self.precisions, self.device) as weights:
            self.encoder = Encoder(self.config.encoder, weights, maker("packed", scratch))
            self.decoder = Decoder(self.config.decoder, weights, maker(layout, scratch))
            weights.check_all_used()
            self._parameters = weights.parameters
        self.features = Features(self.config.encoder.mels, self.device)
        self.generator = Generator(self.decoder, self.config.end_tokens)
        self._try()

    @property
    def stored(self) -> list[torch.Tensor]:
        """Every tensor that the model computes with."""
        return [*self.encoder.stored, *self.decoder.stored]

    @property
    def parameters(self) -> int:
        """How many weights the checkpoint has."""
        return self._parameters

    @property
    def kv_bytes(self) -> int:
        """What a position of the cache takes."""
        return self.config.decoder.kv_values * self.decoder.dtype.itemsize

    def cache_bytes(self, samples: int) -> int:
        """Return what the cache takes for a recording."""
        return cache_bytes(self.config.decoder, 1, self.positions(samples), self.decoder.dtype.itemsize)

    @torch.inference_mode()
    def encode(self, recordings: Sequence[NDArray[np.float32]], meter: Meter) -> list[torch.Tensor]:
        """Return the audio's tokens as the decoder reads them, `(tokens, width)` for each recording."""
        with meter.stage("mel") as total:
            features = [self.features(samples) for samples in recordings]
            total.units += sum(each.shape[1] for each in features)
        with meter.stage("stem", sum(each.shape[1] for each in features)):
            tokens = self.encoder.stem(features)
        with meter.stage("encoder", sum(map(len, tokens))):
            return self.encoder.encode(tokens, self.config.encoder.window_chunks)

    def transcribe(
        self,
        recordings: Sequence[NDArray[np.float32]],
        meter: Meter,
        *,
        context: str = "",
        language: str | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> list[Answer]:
        """Recognise recordings at 16 kHz together; `check` may raise between two stages or steps."""
        if not recordings:
            return []
        encoded = self.encode(recordings, meter)
        check()
        limits = [limit_of(len(samples)) for samples in recordings]
        prompts = self.prompt(encoded, limits, context=context, language=language)
        said = self.generator(prompts, meter, check)
        with meter.stage("detokenise"):
            return [self.prompts.answer(tokens, language) for tokens in said]

    @torch.inference_mode()
    def prompt(
        self, encoded: Sequence[torch.Tensor], limits: Sequence[int], *, context: str = "", language: str | None = None
    ) -> list[Prompt]:
        """Return the prompts of encoded recordings."""
        head = self.embed(self.prompts.head(context))
        tail = self.embed([*self.prompts.tail, *self.prompts.opening(language)])
        return [Prompt(torch.cat([head, one, tail]), limit) for one, limit in zip(encoded, limits, strict=True)]

    @torch.inference_mode()
    def embed(self, tokens: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens, `(tokens, width)`."""
        return self.decoder.embed(torch.tensor(tokens, dtype=torch.long, device=self.device))

    def positions(self, samples: int) -> int:
        """Return how many positions of the cache a recording takes at most, without a context."""
        audio = self.config.encoder.tokens(max(samples, SHORTEST) // HOP)
        return len(self.prompts.head()) + audio + len(self.prompts.tail) + limit_of(samples) + 1

    def _try(self) -> None:
        """Hear half a second of silence, so that weights which do not fit each other are found."""
        try:
            encoded = self.encode([torch.zeros(SHORTEST).numpy()], Meter(Tracer(), self.device))
            with torch.inference_mode():
                self.decoder.choose(self.decoder.prefill(encoded[0][None, :1])[0][:, 0])
        except RuntimeError as error:
            raise ModelError("the weights do not fit the configuration", error, "get the checkpoint again") from error


def limit_of(samples: int) -> int:
    """Return how many tokens an answer to so many samples may have."""
    return SPARE_TOKENS + math.ceil(TOKENS_PER_S * samples / RATE_HZ)


def maker(layout: Layout, scratch: Scratch) -> Callable[..., Linear]:
    """Return what makes linear layers of weights and biases, in a layout."""

    def make(weight: torch.Tensor, bias: torch.Tensor | None = None) -> Linear:
        return Linear(weight, bias, layout, scratch)

    return make
