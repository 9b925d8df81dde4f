"""The query of a live stream's address: every parameter is read once, in its type, or refused by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

RETURNING = {"resume", "finals"}
_FLAGS = {"true": True, "false": False}


class Query:
    """Reads parameters; all methods raise UsageError for a value that cannot be used."""

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        self._left: dict[str, list[str]] = {}
        for name, value in items:
            self._left.setdefault(name, []).append(value)
        self.options = Counter((name, value) for name, values in self._left.items() for value in values)
        for name in RETURNING:
            self.options -= Counter({item: count for item, count in self.options.items() if item[0] == name})

    def many(self, name: str) -> tuple[str, ...]:
        """Return all values of a parameter that may be repeated."""
        return tuple(self._left.pop(name, ()))

    def text(self, name: str) -> str | None:
        """Return the one value of a parameter, None when it is not given."""
        values = self.many(name)
        if len(values) > 1:
            raise UsageError(f"{name} was given more than once", ", ".join(values), "give it once")
        return values[0] if values else None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return `true` or `false` as a bool."""
        value = self.text(name)
        if value is None:
            return default
        if value.lower() not in _FLAGS:
            raise UsageError(f"{name} is not a flag", value, "use true or false")
        return _FLAGS[value.lower()]

    def number(self, name: str, least: int = 0, most: int = 1_000_000) -> int | None:
        """Return a whole number within bounds."""
        value = self.text(name)
        if value is None:
            return None
        is_number = value.isascii() and value.isdigit() and len(value) <= len(str(most))
        if not is_number or not least <= int(value) <= most:
            raise UsageError(f"{name} is not usable", value, f"use a whole number from {least} to {most}")
        return int(value)

    def refuse(self, names: Iterable[str], *, unless: str | None = None) -> None:
        """Refuse parameters that cannot be honoured, by name, unless each value is `unless`."""
        for name in names:
            for value in self.many(name):
                if value.lower() != unless:
                    remedy = "leave it out" if unless is None else f"leave it out or set it to {unless}"
                    raise UsageError(f"{name} is not supported", value, remedy)

    def end(self) -> None:
        """Refuse what is left by name."""
        for name, values in self._left.items():
            raise UsageError(f"unknown parameter {name}", ", ".join(values), "leave it out")


@dataclass(frozen=True, slots=True)
class LiveQuery:
    """Parameters of our own that every live dialect takes.

    `chunk_ms` chooses the latency class; `every_partial` asks for a partial of every chunk; `resumable` asks for a
    token, and `resume` brings it back together with `finals`, the number of finals that the client has.
    """

    chunk_ms: int | None
    every_partial: bool
    resumable: bool
    resume: str | None
    finals: int


def live_query(query: Query) -> LiveQuery:
    """Read the parameters of our own; raises UsageError."""
    resume, finals = query.text("resume"), query.number("finals")
    if (resume is None) != (finals is None):
        raise UsageError("resume and finals belong together", None, "tell how many finals you have")
    resumable = query.flag("resumable")
    if resume is not None and not resumable:
        raise UsageError("resume needs resumable=true", None, "repeat the query of the first connection")
    return LiveQuery(query.number("chunk_ms", 1, 60_000), query.flag("every_partial"), resumable, resume, finals or 0)
