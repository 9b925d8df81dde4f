"""The prediction and joint networks of RNN-T and TDT models, and greedy decoding of many recordings at once.

Decoding loops over labels, as NeMo's `greedy_batch` does: one iteration looks for the next label of every recording,
then advances the prediction network of those that found one. RNN-T steps a frame at each blank; TDT
(https://arxiv.org/abs/2304.06795) predicts with each label or blank how many frames to jump.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from auricle.fastconformer.tokens import Token

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from auricle.fastconformer.config import TransducerConfig

# How many frames one evaluation of the joint network looks at: about as many as lie between two labels of speech.
_WINDOW_FRAMES = 4
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class Lstm(nn.Module):
    """The recurrent layers, under NeMo's name for them."""

    def __init__(self, config: TransducerConfig) -> None:
        super().__init__()
        self.lstm = nn.LSTM(config.hidden, config.hidden, config.rnn_layers)


class Prediction(nn.Module):
    """The embedding and the recurrent layers of the prediction network."""

    def __init__(self, config: TransducerConfig, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary + 1, config.hidden)
        self.dec_rnn = Lstm(config)


class Predictor(nn.Module):
    """The prediction network: what has been said so far."""

    def __init__(self, config: TransducerConfig, vocabulary: int) -> None:
        super().__init__()
        self.prediction = Prediction(config, vocabulary)
        self._shape = (config.rnn_layers, config.hidden)

    def start(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return the state before anything was said: two tensors `(layers, batch, hidden)`."""
        layers, hidden = self._shape
        weight = self.prediction.embed.weight
        return weight.new_zeros(layers, batch, hidden), weight.new_zeros(layers, batch, hidden)

    def forward(self, labels: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the output `(batch, hidden)` and the state after one more label each, `labels` `(batch,)`."""
        out: Tensor = self.prediction.embed(labels)
        hidden, cells = [], []
        # One step of torch's LSTM packs all its weights anew on a CPU; the cell does not.
        for layer, weights in enumerate(self.prediction.dec_rnn.lstm.all_weights):
            out, cell = torch.lstm_cell(out, (state[0][layer], state[1][layer]), *weights)
            hidden.append(out)
            cells.append(cell)
        return out, (torch.stack(hidden), torch.stack(cells))


class Joint(nn.Module):
    """The joint network: scores of tokens, the blank, and TDT's durations, from a frame and what has been said."""

    def __init__(self, config: TransducerConfig, width: int, vocabulary: int) -> None:
        super().__init__()
        self.pred = nn.Linear(config.hidden, config.joint_hidden)
        self.enc = nn.Linear(width, config.joint_hidden)
        outputs = nn.Linear(config.joint_hidden, vocabulary + 1 + len(config.durations))
        between = [nn.Identity()] * (config.joint_output - 1)
        self.joint_net = nn.Sequential(_ACTIVATIONS[config.activation](), *between, outputs)

    def forward(self, frames: Tensor, said: Tensor) -> Tensor:
        """Return scores `(batch, frames, outputs)` of projected `frames` `(batch, frames, joint)` and `said`."""
        scores: Tensor = self.joint_net(frames + said[:, None])
        return scores


@dataclass(slots=True)
class Walk:
    """Where decoding stands in one recording: the next frame, and how many labels its last frame has given."""

    length: int
    frame: int = 0
    emitted: int = 0
    tokens: list[Token] = field(default_factory=list)


class GreedyDecoder:
    """Greedy decoding with the networks of one model."""

    def __init__(self, config: TransducerConfig, predictor: Predictor, joint: Joint, blank: int) -> None:
        self._predictor = predictor
        self._joint = joint
        self._blank = blank
        self._durations = config.durations
        self._max_symbols = config.max_symbols

    def decode(self, frames: Tensor, lengths: Tensor) -> list[list[Token]]:
        """Return the tokens of each recording, from encoder frames `(batch, frames, width)`."""
        walks = [Walk(length) for length in lengths.tolist()]
        projected = self._joint.enc(frames)
        said, state = self._said(torch.full((len(walks),), self._blank), self._predictor.start(len(walks)))
        while rows := [row for row, walk in enumerate(walks) if walk.frame < walk.length]:
            found = self._search(walks, rows, projected, said)
            if found:
                index = torch.tensor(found)
                labels = torch.tensor([walks[row].tokens[-1].index for row in found])
                said[index], after = self._said(labels, (state[0][:, index], state[1][:, index]))
                state[0][:, index], state[1][:, index] = after
        return [walk.tokens for walk in walks]

    def _said(self, labels: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        out, state = self._predictor(labels, state)
        return self._joint.pred(out), state

    def _search(self, walks: list[Walk], rows: list[int], projected: Tensor, said: Tensor) -> list[int]:
        """Walk each of `rows` over its next frames to its next label; return the rows that found one."""
        index = torch.tensor(rows)
        starts = torch.tensor([walks[row].frame for row in rows])
        window = starts[:, None] + torch.arange(_WINDOW_FRAMES)
        scores = self._joint(projected[index[:, None], window.clamp(max=projected.shape[1] - 1)], said[index])
        kinds = self._blank + 1
        best, labels = scores[:, :, :kinds].log_softmax(dim=2).max(dim=2)
        jumps = scores[:, :, kinds:].argmax(dim=2).numpy() if self._durations else None
        probabilities, chosen = best.exp().numpy(), labels.numpy()
        return [
            row
            for place, row in enumerate(rows)
            if self._advance(walks[row], chosen[place], probabilities[place], None if jumps is None else jumps[place])
        ]

    def _advance(
        self,
        walk: Walk,
        labels: NDArray[np.int64],
        probabilities: NDArray[np.float32],
        jumps: NDArray[np.int64] | None,
    ) -> bool:
        """Walk over the frames of a window up to a label and past it; return whether there was one."""
        start = walk.frame
        while walk.frame < min(walk.length, start + len(labels)):
            place = walk.frame - start
            duration = 0 if jumps is None else self._durations[jumps[place]]
            if labels[place] == self._blank:
                walk.frame += max(duration, 1)
                continue
            token = Token(int(labels[place]), walk.frame, max(duration, 1), float(probabilities[place]))
            self._emit(walk, token, duration)
            return True
        return False

    def _emit(self, walk: Walk, token: Token, duration: int) -> None:
        """Add a label; a frame that has given as many as it may is left, as if it had given a blank."""
        same = bool(walk.tokens) and walk.tokens[-1].frame == walk.frame
        walk.emitted = walk.emitted + 1 if same else 1
        walk.tokens.append(token)
        walk.frame += duration
        if duration == 0 and walk.emitted >= self._max_symbols:
            walk.frame += 1
