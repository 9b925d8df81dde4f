"""Beam search for RNN-T and TDT models, many recordings at once and chunk after chunk.

It is NeMo's `malsd_batch`: alignment-length synchronous decoding (https://doi.org/10.1109/ICASSP40776.2020.9053040)
with as many hypotheses at every step as there were before, where those that say the same at the same frame become one.
A step takes every hypothesis of a recording on by a label or a blank; it has fixed shapes and no copies to the host.
A recording is only taken on while all its hypotheses have a frame to look at, so that chunks of any size give what the
whole gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auricle.fastconformer.boosting import advance, bonus
from auricle.fastconformer.hypotheses import NOTHING, Beams, Step, Trail, best_of, follow, pruned
from auricle.fastconformer.transducer import Memory
from auricle.turns import give_way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.boosting import Boost
    from auricle.fastconformer.config import TransducerConfig
    from auricle.fastconformer.tokens import Token
    from auricle.fastconformer.transducer import Joint, Predictor

LARGEST_BEAM = 32

_HASH_FACTOR = 6364136223846793005
"""Of Knuth's MMIX generator, modulo 2 ** 64."""

_STEPS_AT_ONCE = 256
"""So many steps are done before they are copied to the host."""


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
        steps: list[tuple[Step, Tensor]] = []
        while True:
            give_way()
            going, over = going_on(beams, lengths, ends)
            is_over = not going.any()
            if is_over or len(steps) == _STEPS_AT_ONCE:
                follow(trails, steps, self._blank)
                steps = []
            if is_over:
                return beams
            after, step = self.step(beams, projected, over, boost)
            beams = after.where(going, beams)
            steps.append((step, going))

    def step(self, beams: Beams, projected: Tensor, over: Tensor, boost: Boost | None) -> tuple[Beams, Step]:
        """Return every recording's hypotheses after one more label or blank each; those that are `over` stay."""
        logs, candidates = self._candidates(beams, projected, over, boost)
        scores, places = candidates.scores.flatten(1).topk(self.size, dim=1)
        parents = places // candidates.scores.shape[2]
        labels, jumps = candidates.labels.flatten(1).gather(1, places), candidates.jumps.flatten(1).gather(1, places)
        is_label = (labels != self._blank) & (labels != NOTHING)
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
        return replace(after, scores=pruned(after)), Step(parents, labels, frames, jumps, log)

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
            torch.where(fixed, torch.where(over, NOTHING, self._blank)[..., None], found.labels),
            torch.where(fixed, (~over).long()[..., None], found.jumps),
        )

    def _remember(self, memory: Memory, parents: Tensor, said: Tensor, is_label: Tensor) -> Memory:
        """Return the memory of hypotheses that came from `parents` and said one more label where there `is_label`."""
        first = torch.arange(len(parents), device=parents.device)[:, None] * self.size
        before = memory.of((first + parents).flatten())
        output, state = self._said(said.flatten(), (before.hidden, before.cells))
        return Memory(output, *state).where(is_label.flatten(), before)

    def _said(self, labels: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, state = self._predictor(labels, state)
        return self._joint.pred(output), state


def going_on(beams: Beams, lengths: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Return which recordings can be taken on, `(batch,)`, and which hypotheses are at the end, `(batch, beam)`."""
    alive, over = beams.scores > -math.inf, beams.frames >= lengths[:, None]
    return (alive & ~over).any(dim=1) & (ends | ~(alive & over).any(dim=1)), over
