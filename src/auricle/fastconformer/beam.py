"""Beam search for RNN-T and TDT models, many recordings at once and chunk after chunk.

It is NeMo's `malsd_batch`: alignment-length synchronous decoding (https://doi.org/10.1109/ICASSP40776.2020.9053040)
with as many hypotheses at every step as there were before, where those that say the same at the same frame become one.
A step takes every hypothesis of a recording on by a label or a blank; it has fixed shapes and no copies to the host.
A recording is only taken on while all its hypotheses have a frame to look at, so that chunks of any size give what the
whole gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auricle.fastconformer.boosting import advance, bonus
from auricle.fastconformer.memory import LARGEST_LAG_FRAMES
from auricle.fastconformer.tokens import Token
from auricle.fastconformer.transducer import Memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auricle.fastconformer.boosting import Boost
    from auricle.fastconformer.config import TransducerConfig
    from auricle.fastconformer.transducer import Joint, Predictor

LARGEST_BEAM = 32
_NOTHING = -1
"""The label of a step in which a hypothesis has come to the end."""
_HASH_FACTOR = 6364136223846793005
"""Of Knuth's MMIX generator, modulo 2 ** 64."""


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
        memory = (self.memory.said, self.memory.hidden, self.memory.cells)
        return [*(getattr(self, name) for name in _BY_HYPOTHESIS), *memory]

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
        ours, theirs = self.memory, more.memory
        memory = Memory(
            torch.cat((ours.said, theirs.said)),
            torch.cat((ours.hidden, theirs.hidden), dim=1),
            torch.cat((ours.cells, theirs.cells), dim=1),
        )
        return _built((torch.cat((getattr(self, name), getattr(more, name))) for name in _BY_HYPOTHESIS), memory)

    def where(self, rows: Tensor, others: Beams) -> Beams:
        """Return the hypotheses of those recordings that `rows`, `(batch,)`, is true for, and for the rest `others`."""
        by_hypothesis = (
            torch.where(rows[:, None], getattr(self, name), getattr(others, name)) for name in _BY_HYPOTHESIS
        )
        flat = rows[:, None].expand_as(self.scores).flatten()[:, None]
        memory = Memory(
            torch.where(flat, self.memory.said, others.memory.said),
            torch.where(flat, self.memory.hidden, others.memory.hidden),
            torch.where(flat, self.memory.cells, others.memory.cells),
        )
        return _built(by_hypothesis, memory)

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


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What may follow each hypothesis, `(batch, beam, beam)`: the score then, the label, and the frames to jump."""

    scores: Tensor
    labels: Tensor
    jumps: Tensor


class BeamDecoder:
    """Beam search of `size` hypotheses with the networks of one model."""

    def __init__(self, config: TransducerConfig, predictor: Predictor, joint: Joint, blank: int, size: int) -> None:
        self.size = size
        self._predictor = predictor
        self._joint = joint
        self._blank = blank
        self._weight = predictor.prediction.embed.weight
        self._durations = torch.tensor(config.durations, device=self._weight.device)
        self._max_symbols = config.max_symbols

    def start(self, batch: int, phrases: Tensor | None = None) -> Beams:
        """Return the one hypothesis of each of `batch` recordings of which nothing was heard.

        `phrases` `(batch,)` are the roots of their key phrases.
        """
        rows, device = batch * self.size, self._weight.device
        said, state = self._said(torch.full((rows,), self._blank, device=device), self._predictor.start(rows))
        scores = torch.full((batch, self.size), -math.inf, device=device)
        scores[:, 0] = 0.0
        frames, emitted, counts, labels, hashes, roots = torch.zeros(
            6, batch, self.size, dtype=torch.long, device=device
        ).unbind()
        labels += self._blank
        if phrases is not None:
            roots += phrases[:, None]
        return Beams(scores, frames, emitted, counts, labels, hashes, roots, Memory(said, *state))

    def decode(self, frames: Tensor, lengths: Tensor, boost: Boost | None = None) -> list[list[Token]]:
        """Return the tokens of each recording, from encoder frames `(batch, frames, width)`."""
        beams = self.start(len(frames), None if boost is None else boost.states)
        trails = [Trail(self.size) for _ in range(len(frames))]
        beams = self.search(beams, self.project(frames), lengths, torch.ones_like(lengths) > 0, trails, boost)
        return [trail.tokens(best) for trail, best in zip(trails, best_of(beams).tolist(), strict=True)]

    def project(self, frames: Tensor) -> Tensor:
        """Return encoder frames as `search` takes them, `(batch, frames, joint)`."""
        projected: Tensor = self._joint.enc(frames)
        return projected

    def search(
        self,
        beams: Beams,
        projected: Tensor,
        lengths: Tensor,
        ends: Tensor,
        trails: Sequence[Trail],
        boost: Boost | None = None,
    ) -> Beams:
        """Return the hypotheses after as many steps as the frames of each recording allow; `trails` follow them.

        `projected` is `(batch, frames, joint)`; those beyond `lengths` are not looked at. Where it `ends`, every
        hypothesis is taken to the end.
        """
        steps, taken = [], []
        while True:
            alive, over = beams.scores > -math.inf, beams.frames >= lengths[:, None]
            going = torch.where(ends, (alive & ~over).any(dim=1), ~(alive & over).any(dim=1))
            if not going.any():
                break
            after, step = self.step(beams, projected, over, boost)
            beams = after.where(going, beams)
            steps.append(step)
            taken.append(going)
        _follow(trails, steps, taken, self._blank)
        return beams

    def step(self, beams: Beams, projected: Tensor, over: Tensor, boost: Boost | None) -> tuple[Beams, Step]:
        """Return every recording's hypotheses after one more label or blank each; those that are `over` stay."""
        logs, candidates = self._candidates(beams, projected, over, boost)
        scores, places = candidates.scores.flatten(1).topk(self.size, dim=1)
        parents = places // candidates.scores.shape[2]
        labels, jumps = candidates.labels.flatten(1).gather(1, places), candidates.jumps.flatten(1).gather(1, places)
        is_label = (labels != self._blank) & (labels != _NOTHING)
        said = torch.where(is_label, labels, self._blank)
        frames = beams.frames.gather(1, parents)
        hashes, phrases = beams.hashes.gather(1, parents), beams.phrases.gather(1, parents)
        if boost is not None:
            moved = advance(boost.trees, phrases, labels, boost.width)
            phrases = torch.where(is_label, moved, phrases)
        emitted = torch.where(jumps > 0, 0, beams.emitted.gather(1, parents) + is_label)
        after = Beams(
            scores,
            frames + jumps,
            emitted,
            beams.counts.gather(1, parents) + is_label,
            torch.where(is_label, labels, beams.labels.gather(1, parents)),
            torch.where(is_label, hashes * _HASH_FACTOR + 1 + labels, hashes),
            phrases,
            self._remember(beams.memory, parents, said, is_label),
        )
        log = logs.flatten(1).gather(1, parents * logs.shape[2] + said)
        return replace(after, scores=_pruned(after)), Step(parents, labels, frames, jumps, log)

    def _candidates(
        self, beams: Beams, projected: Tensor, over: Tensor, boost: Boost | None
    ) -> tuple[Tensor, Candidates]:
        """Return the log-probabilities of labels `(batch, beam, vocabulary + 1)`, and the best that may follow."""
        batch, kinds = len(beams.scores), self._blank + 1
        places = beams.frames.clamp(max=projected.shape[1] - 1)
        looked = projected[torch.arange(batch, device=places.device)[:, None], places]
        outputs = self._joint(looked.flatten(0, 1)[:, None], beams.memory.said).float().view(batch, self.size, -1)
        logs = outputs[..., :kinds].log_softmax(dim=2)
        wanted = logs
        if boost is not None:
            asks = boost.trees.root[beams.phrases] != 0
            preferred = self._preferred(logs, bonus(boost.trees, beams.phrases, self._blank, boost.width))
            wanted = torch.where(asks[..., None], preferred, logs)
        best, labels = wanted.topk(min(self.size, kinds), dim=2)
        blank = logs[..., self._blank]
        if len(self._durations):
            lasting = outputs[..., kinds:].log_softmax(dim=2)
            best, labels, jumps = self._lasting(best, labels, lasting)
            blank = blank + lasting.amax(dim=2)
        else:
            jumps = (labels == self._blank).long()
        return logs, self._forced(beams, over, Candidates(beams.scores[..., None] + best, labels, jumps), blank)

    def _preferred(self, logs: Tensor, gained: Tensor) -> Tensor:
        """Return log-probabilities with what labels gain `(batch, beam, vocabulary)`; all labels keep their sum."""
        labels = logs[..., : self._blank]
        preferred = (labels + gained).log_softmax(dim=2) + labels.logsumexp(dim=2, keepdim=True)
        return torch.cat((preferred, logs[..., self._blank :]), dim=2)

    def _lasting(self, best: Tensor, labels: Tensor, lasting: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best pairs of a label and a duration; a blank lasts a frame at least."""
        together = (best[..., None] + lasting[..., None, :]).flatten(2)
        best, places = together.topk(min(self.size, together.shape[2]), dim=2)
        labels = labels.gather(2, places // lasting.shape[2])
        jumps = self._durations[places % lasting.shape[2]]
        return best, labels, torch.where(labels == self._blank, jumps.clamp(min=1), jumps)

    def _forced(self, beams: Beams, over: Tensor, found: Candidates, blank: Tensor) -> Candidates:
        """Leave one way on where there is no choice: none at the end, and a blank after as many labels as may be."""
        full = ~over & (beams.emitted >= self._max_symbols)
        only = torch.where(over, beams.scores, beams.scores + blank)[..., None]
        first = torch.arange(found.scores.shape[2], device=only.device) == 0
        fixed = (over | full)[..., None]
        return Candidates(
            torch.where(fixed, torch.where(first, only, -math.inf), found.scores),
            torch.where(fixed, torch.where(over, _NOTHING, self._blank)[..., None], found.labels),
            torch.where(fixed, (~over).long()[..., None], found.jumps),
        )

    def _remember(self, memory: Memory, parents: Tensor, said: Tensor, is_label: Tensor) -> Memory:
        """Return the memory of hypotheses that came from `parents` and said one more label where there `is_label`."""
        first = torch.arange(len(parents), device=parents.device)[:, None] * self.size
        before = memory.of((first + parents).flatten())
        output, (hidden, cells) = self._said(said.flatten(), (before.hidden, before.cells))
        moved = is_label.flatten()[:, None]
        return Memory(
            torch.where(moved, output, before.said),
            torch.where(moved, hidden, before.hidden),
            torch.where(moved, cells, before.cells),
        )

    def _said(self, labels: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, state = self._predictor(labels, state)
        return self._joint.pred(output), state


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
            if label in {blank, _NOTHING}
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
        return _count(ends.pop())


class _Link:
    """A token, and the one before."""

    __slots__ = ("before", "count", "token")

    def __init__(self, before: _Link | None, token: Token) -> None:
        self.before = before
        self.token = token
        self.count = _count(before) + 1


def _count(link: _Link | None) -> int:
    return 0 if link is None else link.count


def _follow(trails: Sequence[Trail], steps: Sequence[Step], taken: Sequence[Tensor], blank: int) -> None:
    """Let every trail follow those of the steps that were its own."""
    if not steps:
        return
    parts = [
        torch.stack(part).tolist()
        for part in zip(*((one.parents, one.labels, one.frames, one.jumps, one.logs) for one in steps), strict=True)
    ]
    for place, rows in enumerate(torch.stack(list(taken)).tolist()):
        for row, trail in enumerate(trails):
            if rows[row]:
                trail.follow(zip(*(part[place][row] for part in parts), strict=True), blank)


def _pruned(beams: Beams) -> Tensor:
    """Return the scores when hypotheses that say the same at the same frame are one, and those left behind are none."""
    alike = torch.stack((beams.hashes, beams.labels, beams.counts, beams.frames))
    same = (alike[..., :, None] == alike[..., None, :]).all(dim=0)
    scores = torch.where(same, beams.scores[:, None], -math.inf)
    first = scores.argmax(dim=2) == torch.arange(scores.shape[1], device=scores.device)
    foremost = torch.where(beams.scores > -math.inf, beams.frames, 0).amax(dim=1, keepdim=True)
    kept = first & (beams.frames >= foremost - LARGEST_LAG_FRAMES)
    return torch.where(kept, scores.logsumexp(dim=2), -math.inf)
