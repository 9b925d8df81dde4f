"""Which words (or characters) of a hypothesis stand for which of the reference, and a view of it for people."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

Mark = Literal["", "S", "D", "I"]
_MARKS: dict[str, Mark] = {"equal": "", "replace": "S", "delete": "D", "insert": "I"}
_STYLES: dict[Mark, str] = {"": "", "S": "yellow", "D": "red", "I": "cyan"}
_GAP = "*"


@dataclass(frozen=True, slots=True)
class Counts:
    """Errors of a hypothesis against a reference of `reference_length` words or characters."""

    substitutions: int
    deletions: int
    insertions: int
    reference_length: int

    @property
    def errors(self) -> int:
        """S + D + I."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def hypothesis_length(self) -> int:
        """Words or characters of the hypothesis."""
        return self.reference_length - self.deletions + self.insertions

    def __add__(self, other: Counts) -> Counts:
        """Return the sum over both."""
        return Counts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference_length + other.reference_length,
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """One place of an alignment: None where the reference or the hypothesis has nothing; `mark` "" means correct."""

    reference: str | None
    hypothesis: str | None
    mark: Mark


@dataclass(frozen=True, slots=True)
class Alignment:
    """Reference and hypothesis, place by place."""

    pairs: tuple[Pair, ...]

    @property
    def counts(self) -> Counts:
        """S, D, I and the length of the reference."""
        marks = Counter(pair.mark for pair in self.pairs)
        return Counts(marks["S"], marks["D"], marks["I"], len(self.pairs) - marks["I"])


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> Alignment:
    """Align with the fewest errors (Levenshtein distance, each error weighing 1); of several ways, one is taken."""
    from rapidfuzz.distance import Levenshtein

    pairs: list[Pair] = []
    for step in Levenshtein.opcodes(reference, hypothesis):
        expected, found = reference[step.src_start : step.src_end], hypothesis[step.dest_start : step.dest_end]
        pairs += (Pair(*both, _MARKS[step.tag]) for both in itertools.zip_longest(expected, found))
    return Alignment(tuple(pairs))


def render(alignment: Alignment, width: int = 100) -> Text:
    """Return REF, HYP and S/D/I lines of at most `width` terminal cells, wrapped together; readable without colour."""
    from rich.cells import cell_len
    from rich.text import Text

    names = ("REF  ", "HYP  ", "     ")
    text = Text(no_wrap=True)
    row = [Text(name) for name in names]
    used = len(names[0])
    for pair in alignment.pairs:
        reference, hypothesis = _shown(pair.reference), _shown(pair.hypothesis)
        column = max(cell_len(reference or ""), cell_len(hypothesis or ""))
        if used + column > width and used > len(names[0]):
            text.append(_block(row))
            row = [Text(name) for name in names]
            used = len(names[0])
        for line, item in zip(row, (reference or _GAP * column, hypothesis or _GAP * column, pair.mark), strict=True):
            line.append(item, _STYLES[pair.mark])
            line.append(" " * (column - cell_len(item) + 1))
        used += column + 1
    return text.append(_block(row))


def _shown(word: str | None) -> str | None:
    """Return a word or character as it can stand alone: a space seen, a combining mark on a circle of dots."""
    from rich.cells import cell_len

    if word == " ":
        return "\u2423"
    return f"\u25cc{word}" if word and cell_len(word) == 0 else word


def _block(row: Sequence[Text]) -> Text:
    for line in row:
        line.rstrip()
    return row[0].append("\n").append(row[1]).append("\n").append(row[2]).append("\n")
