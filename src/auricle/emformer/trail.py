"""What hypotheses say: chains of tokens that share their beginnings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.emformer.search import Grown


class Token(NamedTuple):
    """A label, the encoder frame of the utterance at which it was found, and its probability in [0, 1]."""

    label: int
    frame: int
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A token, the one before, and how many they are in all."""

    token: Token
    before: Link | None
    count: int


class Trail:
    """The hypotheses of one stream, the best first, over so many `frames`.

    None of the first `settled` tokens will ever change: all hypotheses begin with them, one and the same.
    """

    def __init__(self, beam: int) -> None:
        self.frames = 0
        self.settled = 0
        self.ends: list[Link | None] = [None] * beam
        self._fixed: list[Token] = []

    def tokens(self, which: int = 0) -> list[Token]:
        """Return the tokens of one hypothesis, the best for 0."""
        return self._fixed + _since(self.settled, self.ends[which])

    def grow(self, ends: list[Link | None], frames: int) -> None:
        """Take what the hypotheses end with after some frames more."""
        self.frames += frames
        self.ends = ends
        common = _common(ends)
        self._fixed += _since(self.settled, common)
        self.settled = _count(common)


def follow(trails: Sequence[Trail], grown: Grown, frames: int) -> None:
    """Let the trail of each stream take the labels that its hypotheses gained in so many frames."""
    first = grown.ends.numel()
    parents, *parts = (part.flatten().tolist() for part in (grown.parents, grown.labels, grown.frames, grown.logs))
    links: dict[int, Link | None] = {
        stream * len(trail.ends) + index: end
        for stream, trail in enumerate(trails)
        for index, end in enumerate(trail.ends)
    }
    for trail, nodes in zip(trails, grown.ends.tolist(), strict=True):
        for node in nodes:
            path = [node]
            while path[-1] not in links:
                path.append(parents[path[-1] - first])
            before = links[path.pop()]
            for one in reversed(path):
                label, frame, log = (part[one - first] for part in parts)
                before = links[one] = Link(
                    Token(label, trail.frames + frame, math.exp(log)), before, _count(before) + 1
                )
        trail.grow([links[node] for node in nodes], frames)


def _since(count: int, end: Link | None) -> list[Token]:
    """Return the tokens of a chain but for the first so many."""
    tokens = []
    while end is not None and end.count > count:
        tokens.append(end.token)
        end = end.before
    return tokens[::-1]


def _common(ends: Sequence[Link | None]) -> Link | None:
    """Return the last link that all chains go through."""
    different = {id(end): end for end in ends}
    while len(different) > 1:
        longest = max(different.values(), key=_count)
        assert longest is not None  # noqa: S101  only one of several can be empty
        del different[id(longest)]
        different[id(longest.before)] = longest.before
    return next(iter(different.values()))


def _count(link: Link | None) -> int:
    return 0 if link is None else link.count
