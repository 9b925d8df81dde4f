"""The hypotheses of a beam search: what is known of each, in tensors, and what they say, in chains of tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auricle.fastconformer.memory import LARGEST_LAG_FRAMES
from auricle.fastconformer.tokens import Token

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auricle.fastconformer.transducer import Memory

NOTHING = -1
"""The label of a step in which a hypothesis has come to the end."""


@dataclass(slots=True, eq=False)
class Beams:
    """The hypotheses of recordings, each `(batch, beam)`; a score of minus infinity says that there is none.

    `frames` is the next frame of each, `emitted` how many labels it has given, `counts` how many labels there are in
    all, `labels` the last one, `hashes` stand for all of them; `phrases` are states of key phrases. `memory` has
    `batch * beam` rows.
    """

    scores: Tensor
    frames: Tensor
    emitted: Tensor
    counts: Tensor
    labels: Tensor
    hashes: Tensor
    phrases: Tensor
    memory: Memory

    @property
    def tensors(self) -> list[Tensor]:
        """All that they are made of."""
        by_hypothesis = (getattr(self, name) for name in _BY_HYPOTHESIS)
        return [*by_hypothesis, self.memory.said, self.memory.hidden, self.memory.cells]

    def of(self, rows: Tensor) -> Beams:
        """Return a copy of the hypotheses of these recordings."""
        memory = self.memory.of(self._places(rows))
        return _built((getattr(self, name)[rows] for name in _BY_HYPOTHESIS), memory)

    def put(self, rows: Tensor, beams: Beams) -> None:
        """Replace the hypotheses of these recordings."""
        for name in _BY_HYPOTHESIS:
            getattr(self, name)[rows] = getattr(beams, name)
        self.memory.put(self._places(rows), beams.memory)

    def joined(self, more: Beams) -> Beams:
        """Return the hypotheses of these recordings and of more."""
        joined = (torch.cat((getattr(self, name), getattr(more, name))) for name in _BY_HYPOTHESIS)
        return _built(joined, self.memory.joined(more.memory))

    def where(self, rows: Tensor, others: Beams) -> Beams:
        """Return the hypotheses of those recordings that `rows`, `(batch,)`, is true for, and for the rest `others`."""
        chosen = (torch.where(rows[:, None], getattr(self, name), getattr(others, name)) for name in _BY_HYPOTHESIS)
        return _built(chosen, self.memory.where(rows[:, None].expand_as(self.scores).flatten(), others.memory))

    def _places(self, rows: Tensor) -> Tensor:
        size = self.scores.shape[1]
        return (rows[:, None] * size + torch.arange(size, device=rows.device)).flatten()


def _built(by_hypothesis: Iterable[Tensor], memory: Memory) -> Beams:
    scores, frames, emitted, counts, labels, hashes, phrases = by_hypothesis
    return Beams(scores, frames, emitted, counts, labels, hashes, phrases, memory)


_BY_HYPOTHESIS = tuple(field.name for field in fields(Beams) if field.name != "memory")


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one step did, each `(batch, beam)`: which hypothesis each comes from, its label, blank or nothing, where.

    `frames` is the frame that was looked at, `jumps` how many it went on, `logs` the label's log-probability.
    """

    parents: Tensor
    labels: Tensor
    frames: Tensor
    jumps: Tensor
    logs: Tensor


def best_of(beams: Beams) -> Tensor:
    """Return which hypothesis of each recording has the best score per label and end, `(batch,)`, as NeMo judges."""
    return (beams.scores / (beams.counts + 1)).argmax(dim=1)


class Trail:
    """What the hypotheses of one recording say: chains of tokens, each with the one before, that share what they can.

    `start` is the frame from which the frames of steps are counted.
    """

    def __init__(self, size: int) -> None:
        self.start = 0
        self._ends: list[_Link | None] = [None] * size

    def follow(self, steps: Iterable[tuple[int, int, int, int, float]], blank: int) -> None:
        """Follow one step of each hypothesis: parent, label, frame, jump and log-probability."""
        ends = self._ends
        self._ends = [
            ends[parent]
            if label in {blank, NOTHING}
            else _Link(ends[parent], Token(label, self.start + frame, max(jump, 1), math.exp(log)))
            for parent, label, frame, jump, log in steps
        ]

    def tokens(self, which: int) -> list[Token]:
        """Return the tokens of one hypothesis."""
        tokens, link = [], self._ends[which]
        while link is not None:
            tokens.append(link.token)
            link = link.before
        return tokens[::-1]

    def agreed(self, alive: Sequence[bool]) -> int:
        """Return how many tokens all hypotheses that are `alive` begin with, one and the same."""
        ends = {end for end, is_alive in zip(self._ends, alive, strict=True) if is_alive}
        while len(ends) > 1:
            longest = max(ends, key=_count)
            ends = ends - {longest} | {None if longest is None else longest.before}
        return _count(ends.pop()) if ends else 0


class _Link:
    """A token, and the one before."""

    __slots__ = ("before", "count", "token")

    def __init__(self, before: _Link | None, token: Token) -> None:
        self.before = before
        self.token = token
        self.count = _count(before) + 1


def _count(link: _Link | None) -> int:
    return 0 if link is None else link.count


def follow(trails: Sequence[Trail], steps: Sequence[tuple[Step, Tensor]], blank: int) -> None:
    """Let every trail follow those steps that were its own, by the mask of recordings that comes with each."""
    if not steps:
        return
    rows_of = [(one.parents, one.labels, one.frames, one.jumps, one.logs, going) for one, going in steps]
    *parts, taken = (torch.stack(column).tolist() for column in zip(*rows_of, strict=True))
    for place, rows in enumerate(taken):
        for row, trail in enumerate(trails):
            if rows[row]:
                trail.follow(zip(*(part[place][row] for part in parts), strict=True), blank)


def pruned(beams: Beams) -> Tensor:
    """Return the scores when hypotheses that say the same at the same frame are one, and those left behind are none."""
    alike = torch.stack((beams.hashes, beams.labels, beams.counts, beams.frames))
    same = (alike[..., :, None] == alike[..., None, :]).all(dim=0)
    scores = torch.where(same, beams.scores[:, None], -math.inf)
    first = scores.argmax(dim=2) == torch.arange(scores.shape[1], device=scores.device)
    foremost = torch.where(beams.scores > -math.inf, beams.frames, 0).amax(dim=1, keepdim=True)
    kept = first & (beams.frames >= foremost - LARGEST_LAG_FRAMES)
    return torch.where(kept, scores.logsumexp(dim=2), -math.inf)
