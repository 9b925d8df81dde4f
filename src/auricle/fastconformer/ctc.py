"""The CTC head and its greedy decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from auricle.fastconformer.tokens import Token

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class CtcHead(nn.Module):
    """Encoder frames to scores of `vocabulary` tokens and, last, the blank."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.decoder_layers = nn.Sequential(nn.Conv1d(width, vocabulary + 1, 1))
        self._blank = vocabulary

    def forward(self, frames: Tensor) -> Tensor:
        """Return log-probabilities, shape `(batch, frames, vocabulary + 1)`."""
        scores: Tensor = self.decoder_layers(frames.transpose(1, 2))
        return scores.transpose(1, 2).log_softmax(dim=2)

    def decode(self, frames: Tensor, lengths: Tensor) -> list[list[Token]]:
        """Take the best token of every frame and join what repeats, blanks left out."""
        best, labels = self(frames).max(dim=2)
        probabilities = best.exp().numpy()
        return [
            self.joined(labels[row, :length].numpy(), probabilities[row]) for row, length in enumerate(lengths.tolist())
        ]

    def joined(self, labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> list[Token]:
        """Join runs of one label; a token is as probable as in the best frame of its run."""
        tokens = []
        start = 0
        for stop in range(1, len(labels) + 1):
            if stop < len(labels) and labels[stop] == labels[start]:
                continue
            if labels[start] != self._blank:
                probability = float(probabilities[start:stop].max())
                tokens.append(Token(int(labels[start]), start, stop - start, probability))
            start = stop
        return tokens
