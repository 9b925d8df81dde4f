"""Text normalisers: what counts as the same word.

none      the text as it is
basic     NFKC, lower case, punctuation and symbols to spaces; every language keeps its letters and combining marks
english   Whisper's English rules (numbers, contractions, titles, spelling), from the package whisper-normalizer
nonlatin  basic, and: digits of any script spelled out in the utterance's language, older spellings of Indic letters
          joined, no spaces inside scripts that are written without them (score those by character)

A normaliser's hash covers its rules, its language, and the versions of the libraries and Unicode tables it used, so two
error rates are comparable when their hashes are equal.

Known of `english`, because it is Whisper's: successive digits are one word ("one two three" is "123": score digit
strings with `basic`), "oh" and "o" are 0 ("ten o'clock" is "100 clock"), "$1", "one dollar" and "one pound" are "one",
text in brackets and the fillers hmm, mm, mhm, mmm, uh, um vanish, "John's" is "john is", and a second pass may change
the text again. Its one difference: curly apostrophes count as straight ones.

Known of `nonlatin`: a number is read as one cardinal (no years, no decimal point), and digit by digit when it has a
leading zero or more than nine digits; number words that the text already has are left in their own spelling.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import re
import sys
import unicodedata
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("none", "basic", "english", "nonlatin")

# Languages whose number words were checked for 0 to 999,999,999: each number has words of its own, none of them Latin.
_SPELLED_BY = {
    "indic-numtowords": {
        "as", "bn", "doi", "gu", "hi", "kok", "mai", "ml", "mr", "ne", "or", "pa", "sa", "ta", "te", "ur",
    },
    "num2words": {"ar", "be", "fa", "he", "ja", "kn", "ko", "ru", "tg", "th", "uk"},
}  # fmt: skip
_NONLATIN_DEFAULT = {
    "ar", "as", "bn", "bo", "brx", "ckb", "cmn", "doi", "dv", "dz", "fa", "gu", "he", "hi", "ja", "km", "kn", "kok",
    "lo", "mai", "ml", "mni", "mr", "my", "ne", "or", "pa", "ps", "sa", "sat", "sd", "si", "ta", "te", "th", "ug", "ur",
    "wuu", "yi", "yue", "zh",
}  # fmt: skip
_UNSPACED = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_LONGEST_NUMBER = 9

_APOSTROPHES = dict.fromkeys(map(ord, "\u02bc\u2018\u2019\uff07"), "'")
_ZERO_WIDTH_SPACE, _ARABIC_THOUSANDS = "\u200b", "\u066c"
_UNSEEN = "[\u0640\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]"  # Arabic tatweel and variation selectors
# A consonant, virama and zero-width joiner is how these letters were written before Unicode 4.1 and 5.1 encoded them.
_JOINED = {
    "ണ\u0d4d\u200d": "ൺ", "ന\u0d4d\u200d": "ൻ", "ര\u0d4d\u200d": "ർ", "ല\u0d4d\u200d": "ൽ",
    "ള\u0d4d\u200d": "ൾ", "ക\u0d4d\u200d": "ൿ", "ত\u09cd\u200d": "ৎ",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Normaliser:
    """A named function of text; `note` says what it does not do for its language, "" when there is nothing to say."""

    name: str
    hash: str
    note: str = ""
    _function: Callable[[str], str] = field(default=str, repr=False, compare=False)

    def __call__(self, text: str) -> str:
        """Return `text` as it is to be compared: words apart by one space."""
        return self._function(text)


@functools.cache
def get(name: str, language: str | None = None) -> Normaliser:
    """Return the normaliser `name`; only `nonlatin` depends on `language` (`hi`, `hi-IN` or `hi_in`).

    Raises UsageError for a name that is not in `NAMES`.
    """
    if name == "none":
        return Normaliser(name, _hash(name))
    if name == "basic":
        return Normaliser(name, _hash(name), "", _basic)
    if name == "english":
        return Normaliser(name, _hash(name, "whisper-normalizer"), "", _english())
    if name == "nonlatin":
        return _nonlatin_for(_primary(language))
    raise UsageError("unknown normaliser", name, f"one of {', '.join(NAMES)}")


def for_language(language: str | None) -> Normaliser:
    """Return what suits a language: `english`, `nonlatin` where scripts have marks or no spaces, else `basic`."""
    code = _primary(language)
    if code == "en":
        return get("english")
    return get("nonlatin", code) if code in _NONLATIN_DEFAULT else get("basic")


def _primary(language: str | None) -> str:
    return re.split("[-_]", language or "")[0].lower()


def _hash(name: str, library: str | None = None) -> str:
    """Return a hash of a name, its library's version, the version of the Unicode tables and this module's code."""
    content = [name, library and f"{library} {version(library)}", unicodedata.unidata_version, _rules()]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


@functools.cache
def _rules() -> str:
    """Return this module's code without its comments, documentation and layout."""
    tree = ast.parse(inspect.getsource(sys.modules[__name__]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def _basic(text: str) -> str:
    return _words(_composed(text))


def _english() -> Callable[[str], str]:
    from whisper_normalizer.english import EnglishTextNormalizer

    whisper = EnglishTextNormalizer()
    return lambda text: " ".join(whisper(text.translate(_APOSTROPHES)).split())


def _nonlatin_for(language: str) -> Normaliser:
    library = next((name for name, languages in _SPELLED_BY.items() if language in languages), None)
    if library is None:
        note = f"digits are kept: no number words for the language {language or 'unknown'}"
        return Normaliser("nonlatin (digits kept)", _hash("nonlatin"), note, functools.partial(_nonlatin, spell=_plain))
    name, spell = f"nonlatin ({language})", _speller(library, language)
    return Normaliser(name, _hash(name, library), "", functools.partial(_nonlatin, spell=spell))


def _nonlatin(text: str, spell: Callable[[str], str]) -> str:
    for older, letter in _JOINED.items():
        text = text.replace(older, letter)
    words = _words(_spell_digits(_composed(text), spell))
    return re.sub(rf"(?<={_UNSPACED}) (?={_UNSPACED})", "", words)


def _composed(text: str) -> str:
    """Return `text` in NFKC and lower case without invisible characters; a zero-width space is a space."""
    text = unicodedata.normalize("NFKC", text).lower().translate(_APOSTROPHES).replace(_ZERO_WIDTH_SPACE, " ")
    visible = "".join(c for c in re.sub(_UNSEEN, "", text) if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFKC", visible)


def _words(text: str) -> str:
    """Return the letters, digits and marks of `text`, everything else a space, a mark without its letter dropped."""
    kept: list[str] = []
    for c in text:
        category = unicodedata.category(c)
        if category[0] in "PSZ" or category == "Cc":
            kept.append(" ")
        elif category[0] != "M" or (category != "Me" and kept and kept[-1] != " "):
            kept.append(c)
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))


def _plain(digits: str) -> str:
    return "".join(str(int(digit)) for digit in digits)


def _speller(library: str, language: str) -> Callable[[str], str]:
    """Return a function from a run of digits to its words."""
    if library == "num2words":
        from num2words import num2words

        cardinal = functools.partial(num2words, lang=language)
    else:
        from indic_numtowords import num2words as indic_num2words

        cardinal = functools.partial(indic_num2words, lang=language)

    def spell(digits: str) -> str:
        if len(digits) > 1 and (digits.startswith("0") or len(digits) > _LONGEST_NUMBER):
            return " ".join(spell(digit) for digit in digits)
        return f" {cardinal(int(digits))}"

    return spell


def _spell_digits(text: str, spell: Callable[[str], str]) -> str:
    """Return `text` with digits as words; a suffix written onto the digits stays on the last word."""
    grouped = rf"(?<!\d)\d{{1,3}}(?:[,{_ARABIC_THOUSANDS}]\d{{2,3}})*[,{_ARABIC_THOUSANDS}]\d{{3}}(?!\d)"
    text = re.sub(grouped, lambda match: re.sub(r"\D", "", match[0]), text)
    return re.sub(r"\d+", lambda match: spell(match[0]), re.sub(r"(?<=\d)(?=[a-z])", " ", text))
