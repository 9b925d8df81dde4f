"""Texts to be spoken: sentences written for Auricle, in `texts/<language>.txt`, and random digit strings.

The demo corpus speaks the English ones. They were fixed before anything recognised them: change none for a score.
"""

from __future__ import annotations

import random
from pathlib import Path

from auricle.errors import UnsupportedError

SHORTEST_STRING, LONGEST_STRING = 4, 8
_TEXTS = Path(__file__).parent / "texts"
_DIGITS = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "hi": ("शून्य", "एक", "दो", "तीन", "चार", "पाँच", "छह", "सात", "आठ", "नौ"),
}


def sentences(language: str) -> tuple[str, ...]:
    """Return the built-in sentences of a language; raises UnsupportedError for one that has none."""
    return tuple((_TEXTS / f"{_known(language)}.txt").read_text(encoding="utf-8").splitlines())


def digit_strings(language: str, count: int, seed: int) -> tuple[str, ...]:
    """Return `count` strings of four to eight digits in words, the same for the same seed; raises UnsupportedError."""
    digits = _DIGITS[_known(language)]
    generator = random.Random(seed)  # noqa: S311 - a reproducible choice of texts, not a secret
    return tuple(
        " ".join(generator.choices(digits, k=generator.randint(SHORTEST_STRING, LONGEST_STRING))) for _ in range(count)
    )


def _known(language: str) -> str:
    primary = language.partition("-")[0]
    if primary not in _DIGITS:
        raise UnsupportedError(
            "no built-in texts in this language", language, f"give texts, or use {' or '.join(_DIGITS)}"
        )
    return primary
