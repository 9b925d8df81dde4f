"""The part of a partial that will not change: words on which successive partials agree."""

from __future__ import annotations

from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

AGREEING_PARTIALS = 3


class StablePrefix:
    """The words that were shown as stable; they only grow within an utterance.

    A word becomes stable when `agreeing` partials in a row have it, and all before it, in its place (local agreement,
    Liu et al. 2020, arXiv 2005.11185). When the engine later changes a stable word, the stable words stay as they were
    shown until the final, and `contradicted` is set.
    """

    def __init__(self, agreeing: int = AGREEING_PARTIALS) -> None:
        self.words: list[str] = []
        self.contradicted = False
        self._agreeing = agreeing
        self._recent: list[list[str]] = []

    def update(self, words: Sequence[str], known_stable: int = 0) -> list[str]:
        """Take a partial, the first `known_stable` words of it stable by the engine's word; return the new ones."""
        self._recent = [*self._recent, list(words)][-self._agreeing :]
        agreed = 0
        if len(self._recent) == self._agreeing:
            agreed = min(_common(a, b) for a, b in pairwise(self._recent)) if self._agreeing > 1 else len(words)
        stable = list(words[: max(known_stable, agreed)])
        if _common(stable, self.words) < min(len(stable), len(self.words)):
            self.contradicted = True
            return []
        new = stable[len(self.words) :]
        self.words += new
        return new


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the common prefix."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
