"""Beam search that the host does not steer: the steps are those of the CPU, so many at a time, in tensors that stay.

What each step did comes to the host, which follows it to chains of tokens. A live stream's hypotheses look at a window
of frames: those that the slowest of them has yet to look at, and after them the chunk.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from auricle.fastconformer.beam import BeamDecoder, going_on
from auricle.fastconformer.boosting import Boost
from auricle.fastconformer.hypotheses import Beams, Trail, best_of
from auricle.fastconformer.memory import LARGEST_LAG_FRAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.boosting import Library, Trees
    from auricle.fastconformer.config import TransducerConfig
    from auricle.fastconformer.device.inputs import Inputs
    from auricle.fastconformer.streaming.streams import Stream
    from auricle.fastconformer.tokens import Token
    from auricle.fastconformer.transducer import Joint, Predictor

MOST_ROWS = 256
"""Of a block of live streams: every row has several hypotheses, and a window."""

_FIELDS = 5
"""What is told of a hypothesis after a step: its parent, or -1 where none was made; label, frame, jump, log's bits."""

_STEPS_OF_FILES = 32


@dataclass(slots=True, eq=False)
class Searches:
    """Where a search stands in each row of a block; every tensor stays where it is.

    `projected` are the frames in sight, `(rows, frames, joint)`, of which `length` are real; `ends` says of a row that
    no more will come.
    """

    projected: Tensor
    length: Tensor
    ends: Tensor
    beams: Beams

    def put(self, beams: Beams) -> None:
        """Stand where these hypotheses are."""
        for mine, new in zip(self.beams.tensors, beams.tensors, strict=True):
            mine.copy_(new)

    @property
    def unfinished(self) -> Tensor:
        """How many rows can be taken on."""
        return going_on(self.beams, self.length, self.ends)[0].sum(dtype=torch.int32)


class BeamSearch:
    """A beam of `size` hypotheses with copies of a model's prediction and joint networks on a device."""

    def __init__(
        self, config: TransducerConfig, predictor: Predictor, joint: Joint, blank: int, size: int, device: torch.device
    ) -> None:
        self.size, self.blank, self.device = size, blank, device
        self.joint = config.joint_hidden
        self.decoder = BeamDecoder(config, deepcopy(predictor).to(device), deepcopy(joint).to(device), blank, size)

    def searches(self, rows: int, frames: int) -> Searches:
        """Return searches for blocks of so many rows and frames in sight."""
        length, ends = torch.zeros(2, rows, dtype=torch.int64, device=self.device).unbind()
        projected = torch.zeros(rows, frames, self.joint, device=self.device)
        return Searches(projected, length, ends.bool(), self.decoder.start(rows))

    def iterate(self, searches: Searches, times: int, trees: Trees | None) -> Tensor:
        """Make so many steps; return what each did, `(times, _FIELDS, rows, size)` numbers of 32 bits."""
        boost = None if trees is None else Boost(trees, searches.length)
        beams, told = searches.beams, []
        for _ in range(times):
            going, over = going_on(beams, searches.length, searches.ends)
            after, step = self.decoder.step(beams, searches.projected, over, boost)
            beams = after.where(going, beams)
            whole = torch.where(going[:, None], step.parents, -1), step.labels, step.frames, step.jumps
            told.append(torch.stack([*(each.to(torch.int32) for each in whole), step.logs.view(torch.int32)]))
        searches.put(beams)
        return torch.stack(told)


def follow(trails: Sequence[Trail], told: NDArray[np.int32], blank: int) -> None:
    """Let the trail of each row follow what steps did, `(times, _FIELDS, rows, size)`."""
    logs = np.ascontiguousarray(told[:, -1]).view(np.float32)
    for row, trail in enumerate(trails):
        for turn in np.flatnonzero(told[:, 0, row, 0] >= 0):
            trail.follow(zip(*told[turn, :-1, row].tolist(), logs[turn, row].tolist(), strict=True), blank)


class BeamMemory:
    """A beam's hypotheses in every slot, and the frames that the slowest of them has yet to look at."""

    most_rows = MOST_ROWS
    needs_every_end = True

    def __init__(self, search: BeamSearch, slots: int, library: Library) -> None:
        self._search, self._library = search, library
        self._beams = search.decoder.start(slots + 1)
        self._unread = torch.zeros(slots + 1, LARGEST_LAG_FRAMES, search.joint, device=search.device)
        self._counts = torch.zeros(slots + 1, dtype=torch.int64, device=search.device)
        self.trails = [Trail(search.size) for _ in range(slots + 1)]

    @property
    def bytes_per_slot(self) -> int:
        """Bytes that one stream's memory takes, the tokens left out."""
        tensors = [*self._beams.tensors, self._unread, self._counts]
        return sum(each.numel() * each.element_size() for each in tensors) // len(self._counts)

    def decoding(self, rows: int, frames: int) -> LiveBeams:
        """Return the decoding of blocks of so many rows and frames."""
        return LiveBeams(self._search, self, self._library, rows, frames)

    def forget(self, slot: int) -> None:
        """Let an utterance begin in a slot."""
        self.trails[slot] = Trail(self._search.size)

    def load(self, searches: Searches, start: Beams, frames: Tensor, inputs: Inputs) -> None:
        """Set the searches to where the block's streams stand, before projected frames `(rows, frames, joint)`."""
        fresh, slots = inputs.fresh, inputs.slots
        searches.put(start.where(fresh, self._beams.of(slots)))
        phrases = searches.beams.phrases
        phrases.copy_(torch.where(fresh[:, None], inputs.roots[:, None], phrases))
        unread = torch.where(fresh, 0, self._counts[slots])[:, None]
        place = torch.arange(searches.projected.shape[1], device=frames.device)
        rows = torch.arange(len(frames), device=frames.device)[:, None]
        new = frames[rows, (place - unread).clamp(min=0, max=frames.shape[1] - 1)]
        old = self._unread[slots][:, place.clamp(max=LARGEST_LAG_FRAMES - 1)]
        searches.projected.copy_(torch.where((place < unread)[..., None], old, new))
        searches.length.copy_(unread[:, 0] + inputs.frames)
        searches.ends.copy_(inputs.ends)

    def keep(self, searches: Searches, inputs: Inputs) -> Tensor:
        """Leave the frames that all hypotheses have looked at, and keep the rest; return how many were left."""
        beams, seen = searches.beams, searches.projected
        most = seen.shape[1]
        read = torch.where(beams.scores > -math.inf, beams.frames, most).amin(dim=1).minimum(searches.length)
        place = (torch.arange(most, device=seen.device) + read[:, None]).clamp(max=most - 1)
        seen.copy_(seen[torch.arange(len(seen), device=seen.device)[:, None], place])
        beams.frames.sub_(read[:, None]).clamp_(min=0)
        searches.length.sub_(read)
        slots = inputs.slots
        self._beams.put(slots, beams)
        self._unread[slots] = seen[:, :LARGEST_LAG_FRAMES]
        self._counts[slots] = searches.length
        return read


class LiveBeams:
    """See `Decoding`."""

    def __init__(self, search: BeamSearch, memory: BeamMemory, library: Library, rows: int, frames: int) -> None:
        self._search, self._memory, self._library = search, memory, library
        self._searches = search.searches(rows, LARGEST_LAG_FRAMES + frames)
        self._start = search.decoder.start(rows)
        # A label for every second frame, and a few more.
        self._shape = 2 + frames + frames // 2, _FIELDS, rows, search.size

    @property
    def numbers(self) -> int:
        """How many whole numbers a run tells."""
        _, _, rows, size = self._shape
        return math.prod(self._shape) + rows * (size + 2) + 1

    def begin(self, frames: Tensor, inputs: Inputs) -> None:
        """Stand where the block's streams stand."""
        self._memory.load(self._searches, self._start, self._search.decoder.project(frames.float()), inputs)

    def run(self, inputs: Inputs, *, boosted: bool) -> Tensor:
        """Search on."""
        searches = self._searches
        told = self._search.iterate(searches, self._shape[0], self._library.trees if boosted else None)
        read = self._memory.keep(searches, inputs)
        alive, best = searches.beams.scores > -math.inf, best_of(searches.beams)
        rest = (alive.flatten(), best, read, searches.unfinished[None])
        return torch.cat([told.flatten(), *(each.to(torch.int32) for each in rest)])

    def tell(self, numbers: NDArray[np.int32], streams: Sequence[Stream]) -> None:
        """Give each stream the tokens of its utterance so far: those of the best hypothesis."""
        _, _, rows, size = self._shape
        steps = math.prod(self._shape)
        alive = (numbers[steps : steps + rows * size] != 0).reshape(rows, size).tolist()
        best, read = numbers[steps + rows * size : -1].reshape(2, rows).tolist()
        trails = [self._memory.trails[stream.slot] for stream in streams]
        follow(trails, numbers[:steps].reshape(self._shape), self._search.blank)
        for row, (stream, trail) in enumerate(zip(streams, trails, strict=True)):
            trail.start += read[row]
            stream.tokens, stream.settled = trail.tokens(best[row]), trail.agreed(alive[row])


class FileBeams:
    """See `FileDecoding`."""

    def __init__(self, search: BeamSearch, library: Library, rows: int, frames: int) -> None:
        self._search, self._library = search, library
        self._searches = search.searches(rows, frames)
        self._start = search.decoder.start(rows)
        self._shape = _STEPS_OF_FILES, _FIELDS, rows, search.size
        self._trails: list[Trail] = []

    @property
    def numbers(self) -> int:
        """How many whole numbers a run tells."""
        return math.prod(self._shape) + self._shape[2] + 1

    def begin(self, frames: Tensor, lengths: Tensor, root: int) -> None:
        """Stand at the start of encoder frames."""
        searches = self._searches
        searches.put(self._start)
        searches.beams.phrases.fill_(root)
        searches.projected.copy_(self._search.decoder.project(frames.float()))
        searches.length.copy_(lengths)
        searches.ends.fill_(value=True)
        self._trails = [Trail(self._search.size) for _ in range(len(lengths))]

    def run(self, *, boosted: bool) -> Tensor:
        """Search on."""
        told = self._search.iterate(self._searches, self._shape[0], self._library.trees if boosted else None)
        best = best_of(self._searches.beams).to(torch.int32)
        return torch.cat([told.flatten(), best, self._searches.unfinished[None]])

    def tell(self, numbers: NDArray[np.int32], said: list[list[Token]]) -> None:
        """Set the tokens of each recording so far: those of the best hypothesis."""
        steps = math.prod(self._shape)
        follow(self._trails[: len(said)], numbers[:steps].reshape(self._shape), self._search.blank)
        if not numbers[-1]:
            said[:] = [
                trail.tokens(best) for trail, best in zip(self._trails, numbers[steps:-1].tolist(), strict=True)
            ][: len(said)]
