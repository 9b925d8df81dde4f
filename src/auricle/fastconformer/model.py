"""A loaded FastConformer model: recordings to tokens, words and transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from auricle.errors import UnsupportedError
from auricle.fastconformer.ctc import CtcHead
from auricle.fastconformer.describe import count_weights
from auricle.fastconformer.network import filled, pack_weights
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

    `network` is what it computes with, its linear layers packed; `decoders` are those that it has, its own first;
    `parameters` counts the weights that were trained, `weights` all. Raises ModelError for weights that do not fit the
    configuration.
    """

    def __init__(self, archive: Archive) -> None:
        self.config: ModelConfig = archive.config
        self.tokenizer = Tokenizer(archive.tokenizer, self.config.vocabulary)
        self.network = filled(self.config, archive.weights)
        self.parameters = sum(value.numel() for value in self.network.parameters())
        self.weights = count_weights(self.network.state_dict().values())
        pack_weights(self.network)
        self.decoders = make_decoders(self.config, self.network)

    @property
    def contexts(self) -> tuple[AttentionContext, ...]:
        """The attention contexts that the model was trained for, its default first."""
        return self.config.encoder.contexts

    def encode(
        self, batch: Sequence[NDArray[np.float32]], context: AttentionContext | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return encoder frames `(batch, frames, width)` and their lengths, of recordings `(samples,)`, one at least.

        Raises UnsupportedError as `encode_features` does.
        """
        return self.encode_features(*self.features(batch), context)

    @torch.inference_mode()
    def features(self, batch: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
        """Return features `(batch, frames, mels)` and their lengths, of recordings `(samples,)`, one at least."""
        if max(len(samples) for samples in batch) < self.config.features.hop_samples:
            return torch.empty(len(batch), 0, self.config.features.mels), torch.zeros(len(batch), dtype=torch.long)
        features, lengths = self.network.preprocessor(*_padded(batch))
        return features, lengths

    @torch.inference_mode()
    def encode_features(
        self, features: Tensor, lengths: Tensor, context: AttentionContext | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return encoder frames `(batch, frames, width)` and their lengths, of features `(batch, frames, mels)`.

        `context` None is the model's default. One that was trained with chunks takes no context but its own;
        another takes any without chunks, such as a local window for a long recording. Raises UnsupportedError.
        """
        context = self._context(context)
        if not features.shape[1]:
            return torch.empty(len(features), 0, self.config.encoder.width), lengths
        frames, lengths = self.network.encoder(features, lengths, context)
        return frames, lengths

    @torch.inference_mode()
    def decode(self, frames: Tensor, lengths: Tensor, head: Head | None = None) -> list[list[Token]]:
        """Return the tokens of each recording's encoder frames; raises UnsupportedError for an absent head."""
        decoder = self.decoder(head)
        return decoder.decode(frames, lengths) if frames.shape[1] else [[] for _ in range(len(frames))]

    def decoder(self, head: Head | None = None) -> GreedyDecoder | CtcHead:
        """Return the decoder of a head, None being the model's own; raises UnsupportedError for an absent one."""
        wanted: Head = head if head is not None else next(iter(self.decoders))
        if wanted not in self.decoders:
            raise UnsupportedError("the model has no such decoder", wanted, f"it has {', '.join(self.decoders)}")
        return self.decoders[wanted]

    def transcribe(
        self,
        batch: Sequence[NDArray[np.float32]],
        context: AttentionContext | None = None,
        head: Head | None = None,
    ) -> list[Transcript]:
        """Recognise recordings together: float32 samples in [-1, 1] at `config.features.sample_rate`, one text each."""
        if not batch:
            return []
        tokens = self.decode(*self.encode(batch, context), head)
        rate = self.config.features.sample_rate
        return self.detokenise(tokens, [len(samples) / rate for samples in batch])

    def detokenise(self, tokens: Sequence[Sequence[Token]], durations_s: Sequence[float]) -> list[Transcript]:
        """Return the transcripts that the tokens of recordings make, each of so many seconds."""
        return [
            transcript(self.tokenizer, one, self.config.frame_s, duration_s)
            for one, duration_s in zip(tokens, durations_s, strict=True)
        ]

    def _context(self, context: AttentionContext | None) -> AttentionContext:
        if context is None or context in self.contexts:
            return context or self.contexts[0]
        if context.chunked or any(known.chunked for known in self.contexts):
            known = "; ".join(f"[{one.left}, {one.right}]" for one in self.contexts)
            raise UnsupportedError("the model was not trained for this attention context", context, f"it has {known}")
        return context


def make_decoders(config: ModelConfig, network: Network) -> dict[Head, GreedyDecoder | CtcHead]:
    """Return the decoders that a network has, its own first."""
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
