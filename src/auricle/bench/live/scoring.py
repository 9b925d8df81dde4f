"""What a stream heard, word by word: split over its utterances, and when each word was there.

A stream of several utterances gives one text. It is aligned with all its references in a row, and each word of it goes
to the utterance whose reference it stands for; an insertion goes to the utterance of the reference word before it.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from auricle.bench.live.matching import held
from auricle.bench.quality import normaliser_for
from auricle.score.align import Counts, align

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auricle.bench.live.reading import Message, Stream

Event = dict[str, Any]
LOST_WORDS = 2
"""So many reference words missing at its end make a text truncated."""


class Normalisers:
    """Normalised words of texts, remembered, because partials repeat themselves."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._by_language: dict[str, Callable[[str], str]] = {}
        self._known: dict[tuple[str, str], list[str]] = {}

    def words(self, text: str, language: str) -> list[str]:
        """Return the words of a text, normalised for its language; not to be changed."""
        known = self._known.get((language, text))
        if known is None:
            if language not in self._by_language:
                self._by_language[language] = normaliser_for(self._name, language)
            known = self._known[language, text] = self._by_language[language](text).split()
        return known


@dataclass(frozen=True, slots=True)
class Part:
    """One utterance of a stream: its reference, what was heard of it (None when the stream failed).

    `last_word_s` is the moment of the final that holds the last word heard of it, None without any.
    """

    utterance: Event
    offset_s: float
    reference: list[str]
    heard: list[str] | None
    last_word_s: float | None

    @property
    def words(self) -> Counts:
        """Word errors; a failed utterance is all deletions."""
        return align(self.reference, self.heard or []).counts

    @property
    def characters(self) -> Counts:
        """Errors by character, spaces between words included."""
        return align(" ".join(self.reference), " ".join(self.heard or [])).counts

    @property
    def is_empty(self) -> bool:
        """Whether nothing was heard of it, though its stream completed and it has words."""
        return self.heard == [] and bool(self.reference)

    @property
    def is_truncated(self) -> bool:
        """Whether something was heard, but the last two words of the reference, or more, have no counterpart."""
        if not self.heard:
            return False
        lost = 0
        for pair in reversed(align(self.reference, self.heard).pairs):
            if pair.mark != "D":
                break
            lost += 1
        return lost >= LOST_WORDS


class ScoredStream:
    """A stream with its text split over its utterances."""

    def __init__(self, stream: Stream, normalisers: Normalisers) -> None:
        self.stream = stream
        self._normalisers = normalisers
        self._language = str(stream.pieces[0][0]["language"])
        self.references = [normalisers.words(piece["reference"], piece["language"]) for piece, _ in stream.pieces]

    @cached_property
    def parts(self) -> list[Part]:
        """The utterances in order."""
        pieces = self.stream.pieces
        text = self.stream.text
        if text is None:
            return [
                Part(piece, offset_s, reference, None, None)
                for (piece, offset_s), reference in zip(pieces, self.references, strict=True)
            ]
        heard = self._normalisers.words(text, self._language)
        counts = self._words_by_final()
        split = split_words(self.references, heard)
        parts, end = [], 0
        for (piece, offset_s), reference, words in zip(pieces, self.references, split, strict=True):
            end += len(words)
            number = bisect.bisect_left(counts, end) if words else None
            last_s = None if number is None else self.stream.finals[min(number, len(counts) - 1)].at_s
            parts.append(Part(piece, offset_s, reference, words, last_s))
        return parts

    def emitted(self) -> list[list[float | None]]:
        """Return, for each utterance, when each word of its reference was first held by a message, None if never."""
        joined = tuple(word for reference in self.references for word in reference)
        first: list[float | None] = [None] * len(joined)
        before, shown = "", None
        for message in self.stream.messages:
            text = f"{before} {message.text}".strip()
            if message.is_final:
                before = text
            if text == shown:
                continue
            shown = text
            for place in held(joined, tuple(self._normalisers.words(text, self._language))):
                if first[place] is None:
                    first[place] = message.at_s
        moments = iter(first)
        return [[next(moments) for _ in reference] for reference in self.references]

    def word_ends(self) -> list[list[float] | None]:
        """Return, for each utterance, the offset in the stream at which each reference word ends.

        None for an utterance whose words are not timed, or whose normalised words are not those of the timed ones.
        """
        ends: list[list[float] | None] = []
        for (piece, offset_s), reference in zip(self.stream.pieces, self.references, strict=True):
            tokens, times = [], []
            for text, _, end_s in piece["words"]:
                words = self._normalisers.words(text, piece["language"])
                tokens += words
                times += [offset_s + end_s] * len(words)
            ends.append(times if tokens and tokens == reference else None)
        return ends

    def _words_by_final(self) -> list[int]:
        """Return how many normalised words the text has after each final."""
        counts, text = [], ""
        for final in self.stream.finals:
            text = f"{text} {final.text}".strip()
            counts.append(len(self._normalisers.words(text, self._language)))
        return counts


def split_words(references: Sequence[Sequence[str]], heard: Sequence[str]) -> list[list[str]]:
    """Return the words heard of each reference, in order; the insertions before the first word go to the first."""
    if len(references) == 1:
        return [list(heard)]
    owners = [owner for owner, reference in enumerate(references) for _ in reference]
    joined = [word for reference in references for word in reference]
    split: list[list[str]] = [[] for _ in references]
    place, owner = 0, owners[0] if owners else 0
    for pair in align(joined, heard).pairs:
        if pair.reference is not None:
            owner = owners[place]
            place += 1
        if pair.hypothesis is not None:
            split[owner].append(pair.hypothesis)
    return split


def shown_texts(messages: Sequence[Message]) -> list[list[str]]:
    """Return what was shown of each utterance in turn, as messages until a final; texts as they came."""
    utterances: list[list[str]] = [[]]
    for message in messages:
        utterances[-1].append(message.text)
        if message.is_final:
            utterances.append([])
    return [texts for texts in utterances if texts]
