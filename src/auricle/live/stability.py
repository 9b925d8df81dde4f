"""The part of a partial that will not change: words on which successive partials agree."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

AGREEING_PARTIALS = 3


class StablePrefix:
    """The words that were shown as stable; they only grow within an utterance.

    A word becomes stable when `agreeing` partials (two or more) in a row have it, and all before it, in its place
    (local agreement, Liu et al. 2020, arXiv 2005.11185). When the engine later changes a stable word, the stable words
    stay as they were shown until the final, and `contradicted` is set.
    """

    def __init__(self, agreeing: int = AGREEING_PARTIALS) -> None:
        self.words: list[str] = []
        self.contradicted = False
        self._last: Sequence[str] = ()
        self._shown = 0
        self._agreed: deque[int] = deque(maxlen=agreeing - 1)

    def update(self, words: Sequence[str], known_stable: int = 0) -> list[str]:
        """Take a partial, the first `known_stable` words of it stable by the engine's word; return the new ones."""
        if words is self._last:
            self._agreed.append(len(words))
            if self._shown == len(self.words) == len(words):
                return []
        else:
            self._agreed.append(_common(words, self._last))
            self._shown = _common(words, self.words)
            self._last = words
        agreed = min(self._agreed) if len(self._agreed) == self._agreed.maxlen else 0
        stable = max(known_stable, agreed)
        if self._shown < min(stable, len(self.words)):
            self.contradicted = True
            return []
        if stable <= len(self.words):
            return []
        new = list(words[len(self.words) : stable])
        self.words += new
        self._shown = len(self.words)
        return new


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the common prefix."""
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return place
    return min(len(a), len(b))
