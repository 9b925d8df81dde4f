"""A loaded FastConformer model: recordings to tokens, words and transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from auricle.errors import UnsupportedError
from auricle.fastconformer.ctc import CtcHead
from auricle.fastconformer.network import filled
from auricle.fastconformer.tokens import Token, Tokenizer, transcript
from auricle.fastconformer.transducer import GreedyDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.archive import Archive
    from auricle.fastconformer.config import AttentionContext, ModelConfig
    from auricle.fastconformer.network import Network
    from auricle.transcript import Transcript

Head = Literal["transducer", "ctc"]


class FastConformer:
    """A model in evaluation mode; nothing that it is asked changes it, so that threads may share it.

    `network` is what it computes with; `decoders` are those that it has, its own first. Raises ModelError for weights
    that do not fit the configuration.
    """

    def __init__(self, archive: Archive) -> None:
        self.config: ModelConfig = archive.config
        self.tokenizer = Tokenizer(archive.tokenizer, self.config.vocabulary)
        self.network = filled(self.config, archive.weights)
        self.decoders = _decoders(self.config, self.network)

    @property
    def contexts(self) -> tuple[AttentionContext, ...]:
        """The attention contexts that the model was trained for, its default first."""
        return self.config.encoder.contexts

    @torch.inference_mode()
    def encode(
        self, batch: Sequence[NDArray[np.float32]], context: AttentionContext | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return encoder frames `(batch, frames, width)` and their lengths, of recordings `(samples,)`, one at least.

        `context` None is the model's default. One that was trained with chunks takes no context but its own;
        another takes any without chunks, such as a local window for a long recording. Raises UnsupportedError.
        """
        context = self._context(context)
        if max(len(samples) for samples in batch) < self.config.features.hop_samples:
            return torch.empty(len(batch), 0, self.config.encoder.width), torch.zeros(len(batch), dtype=torch.long)
        features, counts = self.network.preprocessor(*_padded(batch))
        frames, counts = self.network.encoder(features, counts, context)
        return frames, counts

    @torch.inference_mode()
    def decode(self, frames: Tensor, lengths: Tensor, head: Head | None = None) -> list[list[Token]]:
        """Return the tokens of each recording's encoder frames; raises UnsupportedError for an absent head."""
        wanted: Head = head if head is not None else next(iter(self.decoders))
        decoder = self.decoders.get(wanted)
        if decoder is None:
            raise UnsupportedError("the model has no such decoder", wanted, f"it has {', '.join(self.decoders)}")
        return decoder.decode(frames, lengths) if frames.shape[1] else [[] for _ in range(len(frames))]

    def transcribe(
        self,
        batch: Sequence[NDArray[np.float32]],
        context: AttentionContext | None = None,
        head: Head | None = None,
    ) -> list[Transcript]:
        """Recognise recordings together: float32 samples in [-1, 1] at `config.features.sample_rate`, one text each."""
        if not batch:
            return []
        frames, lengths = self.encode(batch, context)
        rate = self.config.features.sample_rate
        return [
            transcript(self.tokenizer, tokens, self.config.frame_s, len(samples) / rate)
            for samples, tokens in zip(batch, self.decode(frames, lengths, head), strict=True)
        ]

    def _context(self, context: AttentionContext | None) -> AttentionContext:
        if context is None or context in self.contexts:
            return context or self.contexts[0]
        if context.chunked or any(known.chunked for known in self.contexts):
            known = "; ".join(f"[{one.left}, {one.right}]" for one in self.contexts)
            raise UnsupportedError("the model was not trained for this attention context", context, f"it has {known}")
        return context


def _decoders(config: ModelConfig, network: Network) -> dict[Head, GreedyDecoder | CtcHead]:
    decoders: dict[Head, GreedyDecoder | CtcHead] = {}
    if isinstance(network.decoder, CtcHead):
        decoders["ctc"] = network.decoder
    elif config.transducer is not None and network.joint is not None:
        decoders["transducer"] = GreedyDecoder(config.transducer, network.decoder, network.joint, config.vocabulary)
    if network.ctc_decoder is not None:
        decoders["ctc"] = network.ctc_decoder
    return decoders


def _padded(batch: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Return recordings as one tensor `(batch, samples)`, zeros after their ends, and their lengths."""
    lengths = [len(samples) for samples in batch]
    audio = np.zeros((len(batch), max(lengths)), np.float32)
    for row, samples in zip(audio, batch, strict=True):
        row[: len(samples)] = samples
    return torch.from_numpy(audio), torch.tensor(lengths)
