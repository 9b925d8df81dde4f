"""The predictor, three LSTM layers with normalised gates and cells, and the joint network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from auricle.tensors.packed import PackedLinear

if TYPE_CHECKING:
    from auricle.emformer.config import Config

_LSTM_EPSILON = 1e-3
_FEWEST_ROWS = 2
"""Of one row alone the product takes another path, and its last bits differ."""


class Lstm(nn.Module):
    """One LSTM layer, under torchaudio's names."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.x2g = nn.Linear(inputs, 4 * hidden, bias=False)
        self.p2g = nn.Linear(hidden, 4 * hidden, bias=False)
        self.c_norm = nn.LayerNorm(hidden, eps=_LSTM_EPSILON)
        self.g_norm = nn.LayerNorm(4 * hidden, eps=_LSTM_EPSILON)

    def fuse(self) -> None:
        """Make one product of that with the input and that with the last output."""
        self.gates = PackedLinear(torch.cat((self.x2g.weight, self.p2g.weight), dim=1))
        del self.x2g, self.p2g

    def forward(self, x: Tensor, output: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output and the cell after one more step, `(rows, hidden)` each."""
        gates = self.g_norm(self.gates(torch.cat((x, output), dim=1)))
        admit, keep, change, show = gates.chunk(4, dim=1)
        cell = self.c_norm(keep.sigmoid() * cell + admit.sigmoid() * change.tanh())
        return show.sigmoid() * cell.tanh(), cell


class Predictor(nn.Module):
    """What labels do to the joint network, under torchaudio's names."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary + 1, config.embedding)
        self.input_layer_norm = nn.LayerNorm(config.embedding)
        sizes = [config.embedding, *[config.hidden] * (config.lstm_layers - 1)]
        self._lstms = [Lstm(inputs, config.hidden) for inputs in sizes]
        self.lstm_layers = nn.ModuleList(self._lstms)
        self.linear = nn.Linear(config.hidden, config.joint)
        self.output_layer_norm = nn.LayerNorm(config.joint)
        self.state_shape = (config.lstm_layers, 2, config.hidden)

    def fuse(self) -> None:
        """Make one product of those that are added."""
        for layer in self._lstms:
            layer.fuse()

    def forward(self, labels: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output `(rows, joint)` and state `(rows, layers, 2, hidden)` after labels `(rows,)`, one each."""
        if len(labels) == 1:
            output, after = self(labels.expand(_FEWEST_ROWS), state.expand(_FEWEST_ROWS, *state.shape[1:]))
            return output[:1], after[:1]
        x = self.input_layer_norm(self.embedding(labels))
        after = torch.empty_like(state)
        for index, layer in enumerate(self._lstms):
            x, cell = layer(x, state[:, index, 0], state[:, index, 1])
            after[:, index, 0], after[:, index, 1] = x, cell
        said: Tensor = self.output_layer_norm(self.linear(x))
        return said, after


class Joint(nn.Module):
    """The scores of labels, the blank last."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.linear = nn.Linear(config.joint, config.vocabulary + 1)

    def forward(self, frames: Tensor, said: Tensor) -> Tensor:
        """Return log-probabilities `(rows, vocabulary + 1)` of encoder frames and predictor outputs `(rows, joint)`."""
        x = (frames + said).relu_()
        scores: Tensor = self.linear(x.expand(_FEWEST_ROWS, -1) if len(x) == 1 else x)
        return scores[: len(x)].log_softmax(dim=1)
