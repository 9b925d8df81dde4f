"""The prediction and joint networks of RNN-T and TDT models, and greedy decoding of many recordings at once.

Decoding loops over labels, as NeMo's `greedy_batch` does: one iteration looks for the next label of every recording,
then advances the prediction network of those that found one. RNN-T steps a frame at each blank; TDT
(https://arxiv.org/abs/2304.06795) predicts with each label or blank how many frames to jump.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from auricle.fastconformer.tokens import Token
from auricle.tensors.packed import PackedLinear
from auricle.turns import give_way

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.fastconformer.boosting import Boost
    from auricle.fastconformer.config import TransducerConfig

# How many frames one evaluation of the joint network looks at: about as many as lie between two labels of speech.
_WINDOW_FRAMES = 4
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class Lstm(nn.Module):
    """The recurrent layers, under NeMo's name for them."""

    def __init__(self, config: TransducerConfig) -> None:
        super().__init__()
        self.lstm = nn.LSTM(config.hidden, config.hidden, config.rnn_layers)
        self._packed = nn.ModuleList()

    def pack(self) -> None:
        """Pack the weights, and let go of them as they are."""
        self._packed.extend(PackedCell(*weights) for weights in self.lstm.all_weights)
        del self.lstm

    def cells(self) -> Sequence[Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]]:
        """Return what advances each layer by one step: input, output and cell of the step before to new ones."""
        # One step of torch's LSTM lays out all its weights anew on a CPU; the cell does not.
        return list(self._packed) or [partial(_step, weights) for weights in self.lstm.all_weights]


def _step(weights: Sequence[Tensor], x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    return torch.lstm_cell(x, (hidden, cell), *weights)


class PackedCell(nn.Module):
    """One step of one recurrent layer with packed weights (https://arxiv.org/abs/1402.1128, without peepholes)."""

    def __init__(self, of_input: Tensor, of_hidden: Tensor, input_bias: Tensor, hidden_bias: Tensor) -> None:
        super().__init__()
        self._of_input = PackedLinear(of_input, input_bias + hidden_bias)
        self._of_hidden = PackedLinear(of_hidden)

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output and the cell, each `(batch, hidden)`."""
        enter, forget, new, leave = (self._of_input(x) + self._of_hidden(hidden)).chunk(4, dim=1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        return leave.sigmoid() * cell.tanh(), cell


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
        for layer, cell_of in enumerate(self.prediction.dec_rnn.cells()):
            out, cell = cell_of(out, state[0][layer], state[1][layer])
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


class Predicts(Protocol):
    """What a greedy decoder asks of a prediction network."""

    def start(self, batch: int) -> tuple[Tensor, Tensor]:
        """See `Predictor`."""
        ...

    def __call__(self, labels: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """See `Predictor`."""
        ...


class Joins(Protocol):
    """What a greedy decoder asks of a joint network; `enc` and `pred` are its projections."""

    @property
    def enc(self) -> Callable[[Tensor], Tensor]:
        """Of encoder frames `(batch, frames, width)`."""
        ...

    @property
    def pred(self) -> Callable[[Tensor], Tensor]:
        """Of the prediction network's output `(batch, hidden)`."""
        ...

    def __call__(self, frames: Tensor, said: Tensor) -> Tensor:
        """See `Joint`."""
        ...


@dataclass(slots=True)
class Walk:
    """Where decoding stands in one recording: the next frame, and how many labels its last frame has given."""

    length: int
    frame: int = 0
    emitted: int = 0
    tokens: list[Token] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What the prediction network keeps of recordings.

    `said` is its projected output, `(batch, joint)`; `hidden` and `cells` are its state, `(layers, batch, hidden)`.
    """

    said: Tensor
    hidden: Tensor
    cells: Tensor

    def of(self, rows: Tensor) -> Memory:
        """Return a copy of the memory of these recordings."""
        return Memory(self.said[rows], self.hidden[:, rows], self.cells[:, rows])

    def put(self, rows: Tensor, memory: Memory) -> None:
        """Replace the memory of these recordings."""
        self.said[rows] = memory.said
        self.hidden[:, rows] = memory.hidden
        self.cells[:, rows] = memory.cells

    def joined(self, more: Memory) -> Memory:
        """Return the memory of these recordings and of more."""
        hidden = torch.cat((self.hidden, more.hidden), dim=1)
        return Memory(torch.cat((self.said, more.said)), hidden, torch.cat((self.cells, more.cells), dim=1))

    def where(self, rows: Tensor, others: Memory) -> Memory:
        """Return the memory of those recordings that `rows`, `(batch,)`, is true for, and for the rest of `others`."""
        rows = rows[:, None]
        hidden = torch.where(rows, self.hidden, others.hidden)
        return Memory(torch.where(rows, self.said, others.said), hidden, torch.where(rows, self.cells, others.cells))


class GreedyDecoder:
    """Greedy decoding with the networks of one model."""

    def __init__(self, config: TransducerConfig, predictor: Predicts, joint: Joins, blank: int) -> None:
        self._predictor = predictor
        self._joint = joint
        self._blank = blank
        self._durations = config.durations
        self._max_symbols = config.max_symbols

    def decode(self, frames: Tensor, lengths: Tensor, boost: Boost | None = None) -> list[list[Token]]:
        """Return the tokens of each recording, from encoder frames `(batch, frames, width)`."""
        walks = [Walk(length) for length in lengths.tolist()]
        self.walk(walks, frames, self.start(len(walks)), boost)
        return [walk.tokens for walk in walks]

    def start(self, batch: int) -> Memory:
        """Return the memory of `batch` recordings of which nothing was heard."""
        said, state = self._said(torch.full((batch,), self._blank), self._predictor.start(batch))
        return Memory(said, *state)

    def walk(
        self,
        walks: Sequence[Walk],
        frames: Tensor,
        memory: Memory,
        boost: Boost | None = None,
        *,
        whole: bool = False,
    ) -> None:
        """Walk each recording to the end of its encoder frames, `(batch, frames, width)`; moves `memory` on.

        It moves `boost` on too, the key phrases of each. When `whole`, every iteration computes all rows, so that none
        can tell how far the others are.
        """
        projected = self._joint.enc(frames)
        everyone = range(len(walks))
        while rows := [row for row in everyone if walks[row].frame < walks[row].length]:
            give_way()
            found = self._search(walks, everyone if whole else rows, projected, memory.said, boost)
            if found:
                labels = torch.tensor([walks[row].tokens[-1].index if row in found else 0 for row in everyone])
                index = torch.tensor(found)
                self._remember(labels, index, memory, whole=whole)
                if boost is not None:
                    boost.move(index, labels[index])

    def _remember(self, labels: Tensor, found: Tensor, memory: Memory, *, whole: bool) -> None:
        """Move the memory of the rows `found` on by their labels."""
        before, labels = (memory, labels) if whole else (memory.of(found), labels[found])
        said, state = self._said(labels, (before.hidden, before.cells))
        after = Memory(said, *state)
        memory.put(found, after.of(found) if whole else after)

    def _said(self, labels: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        out, state = self._predictor(labels, state)
        return self._joint.pred(out), state

    def _search(
        self, walks: Sequence[Walk], rows: Sequence[int], projected: Tensor, said: Tensor, boost: Boost | None
    ) -> list[int]:
        """Walk each of `rows` over its next frames to its next label; return the rows that found one."""
        index = torch.tensor(rows)
        starts = torch.tensor([walks[row].frame for row in rows])
        window = starts[:, None] + torch.arange(min(_WINDOW_FRAMES, projected.shape[1]))
        scores = self._joint(projected[index[:, None], window.clamp(max=projected.shape[1] - 1)], said[index])
        kinds = self._blank + 1
        logs = scores[:, :, :kinds].log_softmax(dim=2)
        best, labels = logs.max(dim=2)
        if boost is not None:
            labels = boost.choose(logs, labels, index)
            best = logs.gather(2, labels[:, :, None])[:, :, 0]
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
