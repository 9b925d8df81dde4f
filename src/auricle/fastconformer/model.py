"""A loaded FastConformer model: recordings to tokens, words and transcripts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from auricle.errors import UnsupportedError
from auricle.fastconformer.beam import LARGEST_BEAM, BeamDecoder
from auricle.fastconformer.boosting import Boost
from auricle.fastconformer.ctc import CtcHead
from auricle.fastconformer.describe import count_weights
from auricle.fastconformer.network import filled, kernels, pack_weights, stored
from auricle.fastconformer.phrases import spell
from auricle.fastconformer.streaming.encoder import ChunkEncoder
from auricle.fastconformer.streaming.state import EncoderState
from auricle.fastconformer.tokens import Token, Tokenizer, transcript
from auricle.fastconformer.transducer import GreedyDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.archive import Archive
    from auricle.fastconformer.config import AttentionContext, ModelConfig
    from auricle.fastconformer.network import Network
    from auricle.fastconformer.phrases import Phrases
    from auricle.fastconformer.precision import Precision
    from auricle.fastconformer.streaming.encoder import ChunkSteps
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.transcript import Transcript

Head = Literal["transducer", "ctc"]
Decoder = GreedyDecoder | BeamDecoder | CtcHead


class FastConformer:
    """A model in evaluation mode; nothing that it is asked changes it, so that threads may share it.

    `network` is what it computes with, its linear layers packed; `decoders` are those that it has, its own first;
    `parameters` counts the weights that were trained; `weights` is all that is held, `trained` the same without the
    features', and `kernels` what runs its linear layers, each read back from the networks. Raises ModelError for
    weights that do not fit the configuration or the precision, UnsupportedError for a precision that cannot be computed
    or a `beam` of hypotheses that there is not. `beam` is how many its transducer follows.
    """

    def __init__(self, archive: Archive, precision: Precision = "fp32", beam: int = 1) -> None:
        self.config: ModelConfig = archive.config
        self.precision = precision
        self.tokenizer = tokenizer_of(archive)
        self.network = filled(self.config, archive.weights, precision)
        self.parameters = sum(value.numel() for value in self.network.parameters())
        pack_weights(self.network, precision)
        self.weights = count_weights(stored(self.network))
        self.trained = count_weights(stored(self.network, besides=self.network.preprocessor))
        self.kernels: Counter[str] = Counter(kernels(self.network))
        self.beam = beam
        self.decoders = make_decoders(self.config, self.network, beam)

    @property
    def contexts(self) -> tuple[AttentionContext, ...]:
        """The attention contexts that the model was trained for, its default first."""
        return self.config.encoder.contexts

    def encode(
        self,
        batch: Sequence[NDArray[np.float32]],
        context: AttentionContext | None = None,
        language: str | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return encoder frames `(batch, frames, width)` and their lengths, of recordings `(samples,)`, one at least.

        Raises UnsupportedError as `encode_features` does.
        """
        return self.encode_features(*self.features(batch), context, language)

    @torch.inference_mode()
    def features(self, batch: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
        """Return features `(batch, frames, mels)` and their lengths, of recordings `(samples,)`, one at least."""
        if max(len(samples) for samples in batch) < self.config.features.hop_samples:
            return torch.empty(len(batch), 0, self.config.features.mels), torch.zeros(len(batch), dtype=torch.long)
        features, lengths = self.network.preprocessor(*_padded(batch))
        return features, lengths

    @torch.inference_mode()
    def encode_features(
        self, features: Tensor, lengths: Tensor, context: AttentionContext | None = None, language: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return encoder frames `(batch, frames, width)` and their lengths, of features `(batch, frames, mels)`.

        `context` None is the model's default. One that was trained with chunks takes no context but its own;
        another takes any without chunks, such as a local window for a long recording. `language` is for a model that
        is told it. Raises UnsupportedError for a context or a language that the model does not have.
        """
        context, prompt = self._context(context), self.config.prompt(language)
        if not features.shape[1]:
            return torch.empty(len(features), 0, self.config.encoder.width), lengths
        frames, lengths = self.network.encoder(features, lengths, context)
        return self.told(frames, [prompt] * len(frames)), lengths

    def settle(self) -> None:
        """Wait until everything that was begun is computed: on the CPU it is."""

    def chunk_encoder(self, classes: Sequence[LatencyClass]) -> ChunkSteps:
        """Return what computes chunks of live streams in these latency classes."""
        return ChunkEncoder(self.network.encoder, classes)

    def chunk_state(self, latency: LatencyClass) -> EncoderState:
        """Return the state of live streams of a latency class, of none so far."""
        return EncoderState(self.config.encoder, self.network.encoder.pre_encode, latency.ring)

    def told(self, frames: Tensor, prompts: Sequence[int]) -> Tensor:
        """Return encoder frames `(batch, frames, width)` of a model that is told a prompt for each recording."""
        kernel = self.network.prompt_kernel
        if kernel is None:
            return frames
        found: Tensor = kernel(frames, torch.tensor(prompts, device=frames.device))
        return found

    @torch.inference_mode()
    def decode(
        self, frames: Tensor, lengths: Tensor, head: Head | None = None, phrases: Phrases = ()
    ) -> list[list[Token]]:
        """Return the tokens of each recording's encoder frames; `phrases`, from `spell`, are preferred.

        Raises UnsupportedError for an absent head, or one that cannot heed phrases.
        """
        decoder = self.decoder(head)
        if isinstance(decoder, CtcHead):
            _refuse(phrases)
        if not frames.shape[1]:
            return [[] for _ in range(len(frames))]
        if isinstance(decoder, CtcHead):
            return decoder.decode(frames, lengths)
        return decoder.decode(frames, lengths, Boost.alike(phrases, len(frames)) if phrases else None)

    def spell(self, phrases: Sequence[str], head: Head | None = None) -> Phrases:
        """Return the tokens of key phrases in all their forms.

        Raises UnsupportedError for unusable ones, and for a decoder that cannot heed any.
        """
        if isinstance(self.decoder(head), CtcHead):
            _refuse(phrases)
        return spell(phrases, self.tokenizer)

    def decoder(self, head: Head | None = None) -> Decoder:
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
        language: str | None = None,
    ) -> list[Transcript]:
        """Recognise recordings together: float32 samples in [-1, 1] at `config.features.sample_rate`, one text each."""
        if not batch:
            return []
        tokens = self.decode(*self.encode(batch, context, language), head)
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


def tokenizer_of(archive: Archive) -> Tokenizer:
    """Return the tokenizer of an archive; what a model with prompts says of the language is no part of its texts."""
    return Tokenizer(archive.tokenizer, archive.config.vocabulary, has_tags=archive.config.prompts is not None)


def make_decoders(config: ModelConfig, network: Network, beam: int = 1) -> dict[Head, Decoder]:
    """Return the decoders that a network has, its own first; raises UnsupportedError for a beam that it has not."""
    if not 1 <= beam <= LARGEST_BEAM:
        raise UnsupportedError("there is no beam of so many hypotheses", beam, f"choose from 1 to {LARGEST_BEAM}")
    decoders: dict[Head, Decoder] = {}
    if isinstance(network.decoder, CtcHead):
        decoders["ctc"] = network.decoder
    elif config.transducer is not None and network.joint is not None:
        parts = (config.transducer, network.decoder, network.joint, config.vocabulary)
        decoders["transducer"] = GreedyDecoder(*parts) if beam == 1 else BeamDecoder(*parts, beam)
    if network.ctc_decoder is not None:
        decoders["ctc"] = network.ctc_decoder
    if beam > 1 and "transducer" not in decoders:
        raise UnsupportedError("a CTC decoder has no beam", beam, "leave it out")
    return decoders


def _padded(batch: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Return recordings as one tensor `(batch, samples)`, zeros after their ends, and their lengths."""
    lengths = [len(samples) for samples in batch]
    audio = np.zeros((len(batch), max(lengths)), np.float32)
    for row, samples in zip(audio, batch, strict=True):
        row[: len(samples)] = samples
    return torch.from_numpy(audio), torch.tensor(lengths)


def _refuse(phrases: Sequence[object]) -> None:
    if phrases:
        raise UnsupportedError("a CTC decoder heeds no key phrases", len(phrases), "leave them out")
