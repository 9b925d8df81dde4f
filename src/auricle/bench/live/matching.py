"""Which words of a reference stand in a text: of the alignments with the fewest errors, the one with the most matches.

Alignments with as few errors can differ in their matches: "a b" heard as "b c" is two substitutions, or a deletion, a
match and an insertion. A word that is shown must not count as missing.
"""

from __future__ import annotations

from functools import lru_cache

_ERROR = 1 << 20
"""Weight of an error, a match being -1: no number of matches outweighs one."""


@lru_cache(maxsize=1 << 14)
def held(reference: tuple[str, ...], heard: tuple[str, ...]) -> tuple[int, ...]:
    """Return the places of the reference words that stand in the text, as early as they can be."""
    start = 0
    while start < min(len(reference), len(heard)) and reference[start] == heard[start]:
        start += 1
    rest, said = reference[start:], heard[start:]
    costs = _costs(rest, said) if said else []
    places = list(range(start))
    i = j = 0
    while i < len(rest) and j < len(said):
        is_match = rest[i] == said[j]
        if costs[i][j] == costs[i + 1][j + 1] + (-1 if is_match else _ERROR):
            places += [start + i] if is_match else []
            i, j = i + 1, j + 1
        elif costs[i][j] == costs[i + 1][j] + _ERROR:
            i += 1
        else:
            j += 1
    return tuple(places)


def _costs(reference: tuple[str, ...], heard: tuple[str, ...]) -> list[list[int]]:
    """Return for each pair of places what aligning the rest costs, shape `(words + 1, heard + 1)`."""
    rows = [[_ERROR * left for left in range(len(heard), -1, -1)]]
    for word in reversed(reference):
        below = rows[-1]
        row = [below[-1] + _ERROR] * len(below)
        for j in range(len(heard) - 1, -1, -1):
            through = below[j + 1] + (-1 if word == heard[j] else _ERROR)
            row[j] = min(through, below[j] + _ERROR, row[j + 1] + _ERROR)
        rows.append(row)
    return rows[::-1]
