"""The key phrases of many streams in tensors, so that one gather serves streams with trees of their own.

A stream stands in a state of its tree, a row of `Trees`; state 0 is that of streams without phrases, which gains
nothing. `bonus` and `advance` have fixed shapes for a fixed `width`, no branches and no copies to the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auricle.errors import EngineError
from auricle.fastconformer.phrases import MOST_ARCS, grow_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.phrases import Phrases, Tree

MOST_STATES_IN_ALL = 1 << 18
MOST_ARCS_IN_ALL = 1 << 19
"""Of all trees together; with the states they take 10 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """All trees one after another: `owed`, `first`, `count` and `root` by state, `labels`, `targets`, `gains` by arc.

    They are those of `phrases.Tree`, with states and arcs counted through; `root` is that of a state's own tree.
    """

    owed: Tensor
    first: Tensor
    count: Tensor
    root: Tensor
    labels: Tensor
    targets: Tensor
    gains: Tensor

    @classmethod
    def empty(cls, states: int, arcs: int, device: torch.device | None = None) -> Trees:
        """Return room for so many states and arcs, in which every state is one without phrases."""

        def whole(size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.int32, device=device)

        def real(size: int) -> Tensor:
            return torch.zeros(size, device=device)

        return cls(real(states), whole(states), whole(states), whole(states), whole(arcs), whole(arcs), real(arcs))

    def put(self, tree: Tree, state: int, arc: int) -> None:
        """Write a tree so that its root is `state` and its first arc `arc`."""
        states, arcs = slice(state, state + len(tree.owed)), slice(arc, arc + len(tree.labels))
        self.owed[states] = torch.from_numpy(tree.owed).to(self.owed)
        self.first[states] = torch.from_numpy(tree.first + arc).to(self.first)
        self.count[states] = torch.from_numpy(tree.count).to(self.count)
        self.root[states] = state
        self.labels[arcs] = torch.from_numpy(tree.labels).to(self.labels)
        self.targets[arcs] = torch.from_numpy(tree.targets + state).to(self.targets)
        self.gains[arcs] = torch.from_numpy(tree.gains).to(self.gains)


def bonus(trees: Trees, states: Tensor, vocabulary: int, width: int = MOST_ARCS) -> Tensor:
    """Return what each label gains in each state, `(..., vocabulary)`, of `states` `(...,)`.

    `width` is the most arcs that any state has.
    """
    owed = trees.owed[states][..., None]
    # Arcs that are not there go to a column of their own.
    gained = (-owed).expand(*states.shape, vocabulary + 1).clone()
    for start in (trees.root[states], states):
        arcs, there = _arcs(trees, start, width)
        gains = trees.gains[arcs] - (owed - trees.owed[start][..., None])
        gained.scatter_(-1, trees.labels[arcs].long().masked_fill(~there, vocabulary), gains)
    return gained[..., :vocabulary]


def advance(trees: Trees, states: Tensor, labels: Tensor, width: int = MOST_ARCS) -> Tensor:
    """Return the states after one more label each, `(...,)`; a label is no blank."""
    root = trees.root[states].long()
    after = root
    for start in (root, states):
        arcs, there = _arcs(trees, start, width)
        found = there & (trees.labels[arcs] == labels[..., None])
        after = torch.where(found.any(-1), (trees.targets[arcs] * found).sum(-1), after)
    return after


def _arcs(trees: Trees, states: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return `width` arcs of each state and which of them it has, both `(..., width)`."""
    place = torch.arange(width, device=states.device)
    arcs = trees.first[states][..., None] + place
    return arcs.clamp(max=len(trees.labels) - 1), place < trees.count[states][..., None]


@dataclass(frozen=True, slots=True, eq=False)
class Boost:
    """Where each of many streams stands in its tree: `states` `(batch,)`, moved on in place."""

    trees: Trees
    states: Tensor
    width: int = MOST_ARCS

    @classmethod
    def alike(cls, phrases: Phrases, batch: int) -> Boost:
        """Return the boost of a batch that all asks for the same phrases."""
        tree = grow_tree(phrases)
        trees = Trees.empty(len(tree.owed) + 1, len(tree.labels))
        trees.put(tree, 1, 0)
        return cls(trees, torch.ones(batch, dtype=torch.long), int(tree.count.max()))

    def choose(self, scores: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        """Return the labels `(rows, frames)` chosen with what the phrases of `rows` gain them.

        `scores` are `(rows, frames, vocabulary + 1)`, the blank last, and `labels` the best without phrases. A blank
        stays a blank, and what a stream without phrases says stays as it is.
        """
        blank = scores.shape[2] - 1
        gained = bonus(self.trees, self.states[rows], blank, self.width)
        best = (scores[..., :blank] + gained[:, None]).argmax(dim=2)
        asks = self.trees.root[self.states[rows]] != 0
        return torch.where(asks[:, None] & (labels != blank), best, labels)

    def move(self, rows: Tensor, labels: Tensor) -> None:
        """Move the streams of `rows` on by a label each."""
        self.states[rows] = advance(self.trees, self.states[rows], labels, self.width)


@dataclass(slots=True)
class _Kept:
    phrases: Phrases
    states: range
    arcs: range
    width: int
    users: int = 0


class Library:
    """The trees that live streams ask for, each kept once for all that ask for the same; its tensors never move."""

    def __init__(
        self, states: int = MOST_STATES_IN_ALL, arcs: int = MOST_ARCS_IN_ALL, device: torch.device | None = None
    ) -> None:
        self.width = 1
        """The most arcs that any state has."""
        self._room = (states, arcs, device)
        self._kept: dict[Phrases, _Kept] = {}
        self._roots: dict[int, _Kept] = {}

    @cached_property
    def trees(self) -> Trees:
        """All trees; they take no memory before the first is wanted."""
        return Trees.empty(*self._room)

    def add(self, phrases: Phrases) -> int:
        """Return the root for phrases, 0 for none.

        Raises UnsupportedError as `grow_tree` does, EngineError when there is no room.
        """
        if not phrases:
            return 0
        kept = self._kept.get(phrases)
        if kept is None:
            tree = grow_tree(phrases)
            states, arcs = self._find_room(tree)
            self.trees.put(tree, states.start, arcs.start)
            kept = self._kept[phrases] = self._roots[states.start] = _Kept(phrases, states, arcs, int(tree.count.max()))
            self.width = max(self.width, kept.width)
        kept.users += 1
        return kept.states.start

    def _find_room(self, tree: Tree) -> tuple[range, range]:
        kept = self._roots.values()
        states = _gap([range(1), *(one.states for one in kept)], len(tree.owed), self._room[0])
        return states, _gap([one.arcs for one in kept], len(tree.labels), self._room[1])

    def drop(self, root: int) -> None:
        """Let go of the phrases of a root once for every time that they were added."""
        if root:
            kept = self._roots[root]
            kept.users -= 1
            if not kept.users:
                del self._roots[root], self._kept[kept.phrases]
                self.width = max((one.width for one in self._roots.values()), default=1)


def _gap(used: Sequence[range], size: int, room: int) -> range:
    """Return the first free range of this size; raises EngineError when there is none."""
    start = 0
    for taken in sorted(used, key=lambda one: one.start):
        if taken.start - start >= size:
            break
        start = taken.stop
    if start + size > room:
        raise EngineError("there is no room for more key phrases", size, "close streams that have some, or give fewer")
    return range(start, start + size)
