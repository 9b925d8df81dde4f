"""Beam search over the joint network, as torchaudio's `RNNTBeamSearch` does it, for many streams at once.

At a frame every hypothesis may first stay as it is, by a blank. The best continuations of all by one label, as long as
they score higher than the last of the `beam` best that stay, are then looked at likewise, and so on. Hypotheses of the
same labels are one, whose probabilities are added. The `beam` of the best score for each label, the blank it began with
and one more, go on to the next frame. Every step is a few tensor operations, however many streams and hypotheses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auricle.emformer.config import MOST_LABELS_A_FRAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.emformer.decoder import Joint, Predictor

LARGEST_BEAM = 32
DEFAULT_BEAM = 10

_HASH_FACTOR = 6364136223846793005
"""Of Knuth's MMIX generator, modulo 2 ** 64."""

_NONE = -1
"""The hash of a place without a hypothesis, so that nothing is taken for known that was not computed."""


@dataclass(frozen=True, slots=True, eq=False)
class Beams:
    """The hypotheses of streams: `scores`, label `counts` and `hashes` of all labels, `(streams, beam)` each.

    A score of minus infinity says that there is none. `outputs` `(streams, beam, joint)` and `states`
    `(streams, beam, layers, 2, hidden)` are the predictor's.
    """

    scores: Tensor
    counts: Tensor
    hashes: Tensor
    outputs: Tensor
    states: Tensor

    @property
    def tensors(self) -> list[Tensor]:
        """All that they are made of."""
        return [getattr(self, field.name) for field in fields(self)]

    def of(self, rows: Tensor) -> Beams:
        """Return a copy of the hypotheses of these streams."""
        return Beams(*(tensor[rows] for tensor in self.tensors))

    def put(self, rows: Tensor, beams: Beams) -> None:
        """Replace the hypotheses of these streams."""
        for mine, theirs in zip(self.tensors, beams.tensors, strict=True):
            mine[rows] = theirs

    def repeated(self, streams: int) -> Beams:
        """Return as many copies of the hypotheses of one stream."""
        return Beams(*(tensor.expand(streams, *tensor.shape[1:]).clone() for tensor in self.tensors))

    def joined(self, more: Beams) -> Beams:
        """Return the hypotheses of these streams and of more."""
        return Beams(*(torch.cat(pair) for pair in zip(self.tensors, more.tensors, strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class Grown:
    """How labels were added, `(steps, streams, beam)` each, and which of them each hypothesis ends with.

    Every place of a step is a node, numbered step after step from `streams * beam` on: the lower numbers are the
    hypotheses that were there before. `parents` is the node before, `ends` `(streams, beam)` the last.
    """

    parents: Tensor
    labels: Tensor
    frames: Tensor
    logs: Tensor
    ends: Tensor


@dataclass(slots=True, eq=False)
class _Front:
    """Hypotheses that are looked at, `(streams, beam)` each: `rows` of the pool hold what the predictor said."""

    scores: Tensor
    counts: Tensor
    hashes: Tensor
    rows: Tensor
    nodes: Tensor


class _Pool:
    """What the predictor said of hypotheses, in rows that are only added."""

    def __init__(self, outputs: Tensor, states: Tensor) -> None:
        self.outputs, self.states, self.used = outputs, states, len(outputs)

    def add(self, outputs: Tensor, states: Tensor) -> Tensor:
        """Return the numbers of the new rows."""
        start, end = self.used, self.used + len(outputs)
        if end > len(self.outputs):
            more = max(end, 2 * len(self.outputs)) - self.used
            self.outputs = torch.cat((self.outputs[:start], self.outputs.new_empty(more, *outputs.shape[1:])))
            self.states = torch.cat((self.states[:start], self.states.new_empty(more, *states.shape[1:])))
        self.outputs[start:end], self.states[start:end] = outputs, states
        self.used = end
        return torch.arange(start, end)


class BeamSearch:
    """The search with the networks of one model."""

    def __init__(self, predictor: Predictor, joint: Joint, blank: int, beam: int) -> None:
        self.beam = beam
        self._predictor = predictor
        self._joint = joint
        self._blank = blank

    def start(self) -> Beams:
        """Return the one hypothesis of a stream of which nothing was heard."""
        state = torch.zeros(1, *self._predictor.state_shape)
        output, state = self._predictor(torch.tensor([self._blank]), state)
        scores = torch.full((1, self.beam), -math.inf)
        scores[0, 0] = 0.0
        nothing = torch.zeros(1, self.beam, dtype=torch.long)
        outputs = output[None].expand(1, self.beam, -1).contiguous()
        states = state[None].expand(1, self.beam, -1, -1, -1).contiguous()
        return Beams(scores, nothing, nothing.clone(), outputs, states)

    def search(self, beams: Beams, frames: Tensor) -> tuple[Beams, Grown]:
        """Return the hypotheses after encoder frames `(streams, frames, joint)`, the same number for every stream."""
        streams, beam = beams.scores.shape
        rows = torch.arange(streams * beam).view(streams, beam)
        pool = _Pool(beams.outputs.flatten(0, 1), beams.states.flatten(0, 1))
        front = _Front(beams.scores, beams.counts, beams.hashes, rows, rows)
        steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        known = front
        for place, frame in enumerate(frames.unbind(1)):
            stayed = self._frame(frame, place, front, known, pool, steps)
            # What was looked at before is often looked at again: its predictor's output is kept for a frame.
            front, known = self._best(stayed), stayed
        outputs, states = pool.outputs[front.rows], pool.states[front.rows]
        return Beams(front.scores, front.counts, front.hashes, outputs, states), _grown(steps, front)

    def _frame(
        self,
        frame: Tensor,
        place: int,
        front: _Front,
        known: _Front,
        pool: _Pool,
        steps: list[tuple[Tensor, Tensor, Tensor, Tensor]],
    ) -> _Front:
        """Return all hypotheses that stay at an encoder frame `(streams, joint)`, `(streams, more)` each."""
        stayed: _Front | None = None
        for symbols in range(MOST_LABELS_A_FRAME + 1):
            blanks, scores, labels, logs = self._looked(frame, front, pool)
            stayed = _joined(stayed, front, blanks)
            if symbols == MOST_LABELS_A_FRAME:
                break
            threshold = stayed.scores.topk(self.beam, dim=1, sorted=True).values[:, -1:]
            scores, best = scores.topk(self.beam, dim=1)
            scores = torch.where(scores > threshold, scores, -math.inf)
            if not bool((scores > -math.inf).any()):
                break
            parents, labels = best // self.beam, labels.gather(1, best)
            steps.append((front.nodes.gather(1, parents), labels, torch.full_like(labels, place), logs.gather(1, best)))
            front = self._continued(front, scores, parents, labels, len(steps))
            front.rows = self._said(front, labels, _both(known, stayed), pool)
        assert stayed is not None  # noqa: S101  the range is not empty
        return stayed

    def _looked(self, frame: Tensor, front: _Front, pool: _Pool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the scores after a blank `(streams, beam)`, and the best continuations `(streams, beam * beam)`.

        These are their scores, labels, and the labels' log-probabilities.
        """
        streams, beam = front.scores.shape
        alive = (front.scores.view(-1) > -math.inf).nonzero()[:, 0]
        logs = self._joint(frame[alive // beam], pool.outputs[front.rows.view(-1)[alive]])
        before = front.scores.view(-1)[alive]
        best, labels = logs[:, :-1].topk(beam, dim=1)
        blanks, scores = before + logs[:, -1], before[:, None] + best
        if len(alive) < streams * beam:
            blanks = blanks.new_full((streams * beam,), -math.inf).index_copy_(0, alive, blanks)
            scores = scores.new_full((streams * beam, beam), -math.inf).index_copy_(0, alive, scores)
            labels = labels.new_zeros(streams * beam, beam).index_copy_(0, alive, labels)
            best = best.new_zeros(streams * beam, beam).index_copy_(0, alive, best)
        flat = (streams, beam * beam)
        return blanks.view(streams, beam), scores.view(flat), labels.view(flat), best.view(flat)

    def _continued(self, front: _Front, scores: Tensor, parents: Tensor, labels: Tensor, step: int) -> _Front:
        """Return hypotheses one label longer; `rows` are still those of their parents."""
        hashes = front.hashes.gather(1, parents) * _HASH_FACTOR + 1 + labels
        return _Front(
            scores,
            front.counts.gather(1, parents) + 1,
            torch.where(scores > -math.inf, hashes, _NONE),
            front.rows.gather(1, parents),
            torch.arange(scores.numel()).view_as(scores) + step * scores.numel(),
        )

    def _said(self, front: _Front, labels: Tensor, known: tuple[Tensor, Tensor], pool: _Pool) -> Tensor:
        """Return the rows of the pool for hypotheses that are new; those known by their hash are not computed again."""
        hashes, rows = known
        same = front.hashes[:, :, None] == hashes[:, None]
        found = same.any(dim=2)
        rows = rows.gather(1, same.long().argmax(dim=2)).view(-1)
        new = ((front.scores > -math.inf) & ~found).view(-1).nonzero()[:, 0]
        if len(new):
            output, state = self._predictor(labels.view(-1)[new], pool.states[front.rows.view(-1)[new]])
            rows = rows.index_copy(0, new, pool.add(output, state))
        return rows.view_as(labels)

    def _best(self, stayed: _Front) -> _Front:
        """Return the best by score for each label, the blank of the start and one more."""
        keys = (stayed.scores.double() / (stayed.counts + 2)).float()
        best = keys.topk(self.beam, dim=1).indices
        return _Front(*(getattr(stayed, field.name).gather(1, best) for field in fields(stayed)))


def _joined(stayed: _Front | None, front: _Front, scores: Tensor) -> _Front:
    """Return what stays: those before and the `front` with these scores; one of the same labels is added to it."""
    if stayed is None:
        return _Front(scores, front.counts, front.hashes, front.rows, front.nodes)
    same = (stayed.hashes[:, :, None] == front.hashes[:, None]) & (stayed.scores > -math.inf)[:, :, None]
    same &= (scores > -math.inf)[:, None]
    others = torch.where(same, stayed.scores[:, :, None], -math.inf).amax(dim=1)
    left = torch.where(same.any(dim=2), -math.inf, stayed.scores)
    return _Front(
        torch.cat((left, torch.logaddexp(others, scores)), dim=1),
        *(
            torch.cat((getattr(stayed, name), getattr(front, name)), dim=1)
            for name in ("counts", "hashes", "rows", "nodes")
        ),
    )


def _both(known: _Front, stayed: _Front) -> tuple[Tensor, Tensor]:
    return torch.cat((known.hashes, stayed.hashes), dim=1), torch.cat((known.rows, stayed.rows), dim=1)


def _grown(steps: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]], front: _Front) -> Grown:
    if not steps:
        none = front.nodes.new_zeros(0, *front.nodes.shape)
        return Grown(none, none, none, none.float(), front.nodes)
    parents, labels, frames, logs = (torch.stack(column) for column in zip(*steps, strict=True))
    return Grown(parents, labels, frames, logs, front.nodes)
