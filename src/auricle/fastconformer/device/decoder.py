"""Greedy decoding that the host does not steer: one iteration finds the next label of every row, if it has one.

The encoder frames are projected once. An iteration scores the frames in sight for what each row has said so far, walks
each row over blanks to its next label or the end, and advances the prediction network of those that found one. A step
makes a fixed number of iterations; the count of rows that are not done tells whether it must make more. Where a row has
key phrases, the labels that they choose are raised above all others before the walk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.fastconformer.boosting import Boost, advance
from auricle.fastconformer.device.operations import FIELDS, Operations, Rule, Walks
from auricle.fastconformer.device.placing import ALIGNED, Linear, Placing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from auricle.fastconformer.boosting import Trees
    from auricle.fastconformer.config import TransducerConfig
    from auricle.fastconformer.transducer import Joint, Predictor

_ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}


class Transducer:
    """The prediction and joint networks of RNN-T or TDT on a device; `nothing_said` is the memory at a start."""

    def __init__(
        self,
        config: TransducerConfig,
        predictor: Predictor,
        joint: Joint,
        blank: int,
        placing: Placing,
        operations: Operations,
    ) -> None:
        device = placing.device
        self._placing, self._operations = placing, operations
        self._activation = _ACTIVATIONS[config.activation]
        self._shape = config.rnn_layers, config.hidden
        lstm = predictor.prediction.dec_rnn.lstm
        of_input, of_hidden, input_bias, hidden_bias = lstm.all_weights[0]
        # What the first layer makes of a label is known.
        self._labels = placing.tensor(
            functional.linear(predictor.prediction.embed.weight, of_input, input_bias + hidden_bias)
        )
        self._of_hidden = placing.tensor(of_hidden.t())
        self._layers = [
            Linear(placing.tensor(torch.cat((of_input, of_hidden), dim=1)), placing.tensor(input_bias + hidden_bias))
            for of_input, of_hidden, input_bias, hidden_bias in lstm.all_weights[1:]
        ]
        self._enc, self._pred = placing.linear(joint.enc), placing.linear(joint.pred)
        self._outputs = _aligned(placing.linear(cast("nn.Linear", joint.joint_net[-1])))
        durations = torch.tensor(config.durations, device=device) if config.durations else None
        self._rule = Rule(blank, durations, config.max_symbols)
        start = self.walks(1, 1)
        start.label.fill_(blank)
        start.found.fill_(value=True)
        self._advance(start)
        self.nothing_said = start.said, start.hidden, start.cells

    def walks(self, rows: int, frames: int) -> Walks:
        """Return walks for blocks of so many rows and frames."""
        layers, hidden = self._shape

        def zeros(*shape: int, dtype: torch.dtype = self._placing.dtype) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=self._placing.device)

        joint = len(self._pred.weight)

        def counts() -> Tensor:
            return zeros(rows, dtype=torch.int64)

        return Walks(
            projected=zeros(rows, frames, joint),
            length=counts(),
            frame=counts(),
            last=counts(),
            emitted=counts(),
            label=counts(),
            found=zeros(rows, dtype=torch.bool),
            phrases=counts(),
            said=zeros(rows, joint),
            hidden=zeros(layers, rows, hidden),
            cells=zeros(layers, rows, hidden),
        )

    def begin(self, walks: Walks, frames: Tensor, lengths: Tensor) -> None:
        """Stand at the start of encoder frames `(rows, frames, width)`, of which `lengths` are real."""
        walks.projected.copy_(self._enc(frames.to(self._placing.dtype)))
        walks.length.copy_(lengths)
        walks.emitted.zero_()
        walks.last.fill_(-1)

    def start(self, walks: Walks, root: int = 0) -> None:
        """Stand at the first frame, with nothing said, at the root of key phrases, 0 for none."""
        for each, start in zip((walks.said, walks.hidden, walks.cells), self.nothing_said, strict=True):
            each.copy_(start.expand_as(each))
        walks.frame.zero_()
        walks.phrases.fill_(root)

    def iterate(self, walks: Walks, times: int, window: int | None = None, trees: Trees | None = None) -> Tensor:
        """Walk each row to its next labels; return what was found, `(times, FIELDS, rows)` numbers of 32 bits.

        With a window, no more than so many frames from where a row stands are looked at in one iteration. `trees` are
        those that the rows' phrases stand in, None where no row has any.
        """
        rows = len(walks.frame)
        told = torch.empty(times, FIELDS, rows, dtype=torch.int32, device=walks.frame.device)
        for turn in range(times):
            base, frames = _seen(walks, window)
            scores = self._outputs(self._activation(frames + walks.said[:, None]))
            if trees is None:
                self._operations.search(scores, base, walks, self._rule, told[turn])
            else:
                self._search(scores, base, walks, told[turn], trees)
            self._advance(walks)
        return told

    def _search(self, scores: Tensor, base: Tensor, walks: Walks, told: Tensor, trees: Trees) -> None:
        """Walk each row to its next label, or to the one that its key phrases choose, and on in these.

        What a row without phrases finds is the same bit for bit as without `trees`.
        """
        blank, rows = self._rule.blank, torch.arange(len(base), device=base.device)
        logs = scores[..., : blank + 1].log_softmax(dim=2)
        labels = Boost(trees, walks.phrases).choose(logs, logs.argmax(dim=2), rows)
        above = scores[..., : blank + 1].amax(dim=2, keepdim=True) + 1
        asks = trees.root[walks.phrases] != 0
        raised = torch.where(asks[:, None, None], scores.scatter(2, labels[..., None], above), scores)
        self._operations.search(raised, base, walks, self._rule, told)
        place = (told[1] - base).clamp(min=0, max=scores.shape[1] - 1)
        probability = logs[rows, place, walks.label].float().exp()
        told[-1].copy_(torch.where(asks, probability.view(torch.int32), told[-1]))
        moved = advance(trees, walks.phrases, walks.label)
        walks.phrases.copy_(torch.where(walks.found, moved, walks.phrases))

    def _advance(self, walks: Walks) -> None:
        """Move the prediction network of the rows that found a label on by it."""
        gates = torch.addmm(self._labels[walks.label], walks.hidden[0], self._of_hidden)
        out = self._operations.recur(gates, walks, 0)
        for number, layer in enumerate(self._layers, 1):
            out = self._operations.recur(layer(torch.cat((out, walks.hidden[number]), dim=1)), walks, number)
        walks.said.copy_(torch.where(walks.found[:, None], self._pred(out), walks.said))


def _seen(walks: Walks, window: int | None) -> tuple[Tensor, Tensor]:
    """Return the number of the first frame that each row looks at, and the frames."""
    projected = walks.projected
    if window is None or window >= projected.shape[1]:
        return torch.zeros_like(walks.frame), projected
    places = walks.frame[:, None] + torch.arange(window, device=projected.device)
    rows = torch.arange(len(places), device=projected.device)[:, None]
    return walks.frame, projected[rows, places.clamp(max=projected.shape[1] - 1)]


def _aligned(outputs: Linear) -> Linear:
    """Return a layer with as many outputs more as make their number one that tensor cores like."""
    more = -len(outputs.weight) % ALIGNED
    bias = None if outputs.bias is None else functional.pad(outputs.bias, (0, more))
    return Linear(functional.pad(outputs.weight, (0, 0, 0, more)), bias)


def labels_of(table: NDArray[np.int32]) -> Iterator[tuple[int, int, int, int, float]]:
    """Yield row, label, frame, frames and probability of what a table tells, in the order of each row."""
    turns, rows = np.nonzero(table[:, 0] >= 0)
    values = table[turns, :, rows]
    probabilities = values[:, 3].copy().view(np.float32)
    yield from zip(
        rows.tolist(),
        values[:, 0].tolist(),
        values[:, 1].tolist(),
        values[:, 2].tolist(),
        probabilities.tolist(),
        strict=True,
    )
