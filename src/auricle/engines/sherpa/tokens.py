"""Reads the token table of a sherpa-onnx model, as strictly as the library needs it to be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

BLANKS = ("<blk>", "<eps>", "<blank>")
_ASCII_SPACE = re.compile(r"[ \t\r\f\v]+")
_REMEDY = "copy tokens.txt from where the graphs are from"
_WORD_MARK = "▁".encode()
_BYTE_BPE_TOP = 0xC6


@dataclass(frozen=True, slots=True)
class Tokens:
    """The symbols of a model by id: `symbols[id]`."""

    path: Path
    symbols: tuple[str, ...]

    @property
    def is_byte_bpe(self) -> bool:
        """Whether the symbols stand for single bytes, by the rule with which sherpa-onnx tells."""
        bodies = [symbol.encode().removeprefix(_WORD_MARK) for symbol in self.symbols]
        return max((max(body) for body in bodies if body), default=0) == _BYTE_BPE_TOP

    def check_count(self, count: int, *, exactly: bool) -> None:
        """Raise ModelError unless there are at least, or exactly, `count` symbols."""
        found = len(self.symbols)
        if found < count or (exactly and found > count):
            raise ModelError(f"the graph gives {count} tokens, the token table has {found}", self.path, _REMEDY)

    def check_blank(self, *, last: bool = False) -> None:
        """Raise ModelError without a blank symbol, or when it must be `<blk>` at the end and is not."""
        if last and self.symbols[-1] != BLANKS[0]:
            found = f"{self.path} ends with {self.symbols[-1]}"
            raise ModelError(f"the last token must be {BLANKS[0]}", found, _REMEDY)
        if not set(BLANKS) & set(self.symbols):
            raise ModelError(f"the token table has none of {', '.join(BLANKS)}", self.path, _REMEDY)


def read_tokens(path: Path) -> Tokens:
    """Read lines of `symbol id`, or `id` alone for the space; raises ModelError for anything else.

    The ids must be 0, 1, 2 and so on, each once, in any order.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError("cannot read the token table", path, _REMEDY) from error
    symbols: dict[int, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        fields = [field for field in _ASCII_SPACE.split(line) if field]
        if fields:
            symbol, identity = _entry(fields, f"{path}, line {number}")
            if symbols.setdefault(identity, symbol) is not symbol:
                raise ModelError(f"token id {identity} appears twice", f"{path}, line {number}", _REMEDY)
    if not symbols or sorted(symbols) != list(range(len(symbols))):
        raise ModelError("the token ids must be 0, 1, 2 and so on", path, _REMEDY)
    return Tokens(path, tuple(symbols[identity] for identity in range(len(symbols))))


def _entry(fields: list[str], where: str) -> tuple[str, int]:
    *symbol, identity = fields
    if len(symbol) > 1 or not (identity.isascii() and identity.isdigit()):
        raise ModelError("a line of the token table must be `symbol id`", where, _REMEDY)
    return (symbol[0] if symbol else " "), int(identity)
