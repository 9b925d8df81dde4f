"""Decoders computed by ONNX Runtime, in the places of those in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auricle.fastconformer.ctc import CtcHead

if TYPE_CHECKING:
    from auricle.fastconformer.config import TransducerConfig
    from auricle.fastconformer.ort.session import Session


def call(session: Session, *values: Tensor) -> list[Tensor]:
    """Return the outputs of a graph on the CPU, of tensors on the CPU; nothing is copied that lies as it should."""
    return [torch.from_numpy(one) for one in session.run(*(value.contiguous().numpy() for value in values))]


class OrtPredictor:
    """The prediction network; its output is projected already."""

    def __init__(self, config: TransducerConfig, session: Session) -> None:
        self._shape = config.rnn_layers, config.hidden
        self._session = session

    def start(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return the state before anything was said: two tensors `(layers, batch, hidden)`."""
        layers, hidden = self._shape
        return torch.zeros(layers, batch, hidden), torch.zeros(layers, batch, hidden)

    def __call__(self, labels: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the output `(batch, joint)` and the state after one more label each, `labels` `(batch,)`."""
        if not len(labels):
            return torch.zeros(0, self._session.raw.get_outputs()[0].shape[1]), state
        said, hidden, cells = call(self._session, labels, *state)
        return said, (hidden, cells)


class OrtJoint:
    """The joint network."""

    def __init__(self, projection: Session, joint: Session) -> None:
        self._projection, self._joint = projection, joint

    def enc(self, frames: Tensor) -> Tensor:
        """Return projected frames `(batch, frames, joint)`."""
        return call(self._projection, frames)[0]

    def pred(self, said: Tensor) -> Tensor:
        """Return what the prediction network gave, which is projected already."""
        return said

    def __call__(self, frames: Tensor, said: Tensor) -> Tensor:
        """Return scores `(batch, frames, outputs)` of projected `frames` `(batch, frames, joint)` and `said`."""
        return call(self._joint, frames, said)[0]


class OrtCtcHead(CtcHead):
    """A CTC head."""

    def __init__(self, width: int, vocabulary: int, session: Session) -> None:
        with torch.device("meta"):
            super().__init__(width, vocabulary)
        self._session = session

    def forward(self, frames: Tensor) -> Tensor:
        """Return log-probabilities, shape `(batch, frames, vocabulary + 1)`."""
        return call(self._session, frames)[0]
