"""Joins the pieces that a decoder emitted into words with times and confidence."""

from __future__ import annotations

import codecs
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.errors import EngineError
from auricle.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_PIECE_S = 0.32
"""How long a piece can last when the decoder tells only where it begins: about a long syllable."""

_DECIMALS = 3
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_WITHOUT_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


@dataclass(frozen=True, slots=True)
class Pieces:
    """Parallel lists, times in seconds; `durations_s` (TDT, Whisper) and `log_probs` (transducers) may be empty."""

    texts: Sequence[str]
    starts_s: Sequence[float]
    durations_s: Sequence[float] = ()
    log_probs: Sequence[float] = ()


def join_words(pieces: Pieces) -> list[Word]:
    """Join pieces at spaces (`▁`); a character of a script written without spaces is a word of its own.

    A word ends where the decoder says that its last piece ends, else where the next piece begins but at most
    `LONGEST_PIECE_S` after its last piece began. Its confidence is the geometric mean of its pieces' probabilities.
    """
    if len(pieces.starts_s) != len(pieces.texts):
        counts = f"{len(pieces.texts)} pieces, {len(pieces.starts_s)} times"
        raise EngineError("sherpa-onnx did not give every piece a time", counts)
    words: list[Word] = []
    text, owners = "", list[int]()
    for character, owner in [*_characters(pieces.texts), (" ", -1)]:
        alone = _WITHOUT_SPACES.match(character) is not None
        if text and (alone or character.isspace() or _WITHOUT_SPACES.match(text)):
            words.append(_word(text, owners, pieces))
            text, owners = "", []
        if not character.isspace():
            text += character
            owners.append(owner)
    return words


def _characters(texts: Sequence[str]) -> list[tuple[str, int]]:
    """Spell the pieces out: each character with the index of the piece that completes it."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
    spelled = ((decoder.decode(_bytes(text)), index) for index, text in enumerate(texts))
    return [(character, index) for characters, index in spelled for character in characters]


def _bytes(text: str) -> bytes:
    byte = _BYTE.fullmatch(text)
    return bytes([int(byte[1], 16)]) if byte else text.replace("▁", " ").encode()


def _word(text: str, owners: list[int], pieces: Pieces) -> Word:
    last = owners[-1]
    start = pieces.starts_s[owners[0]]
    if pieces.durations_s:
        end = pieces.starts_s[last] + pieces.durations_s[last]
    else:
        following = pieces.starts_s[last + 1 : last + 2]
        end = min([pieces.starts_s[last] + LONGEST_PIECE_S, *following])
    confidence = _confidence(sorted(set(owners)), pieces.log_probs)
    return Word(text, round(start, _DECIMALS), round(max(start, end), _DECIMALS), confidence)


def _confidence(owners: list[int], log_probs: Sequence[float]) -> float | None:
    if not log_probs:
        return None
    mean = sum(log_probs[owner] for owner in owners) / len(owners)
    return min(math.exp(mean), 1.0)
