"""Finds engines by their entry points and loads models through them."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from auricle.errors import UsageError

if TYPE_CHECKING:
    from auricle.engines.contract import Engine

GROUP = "auricle.engines"
DEFAULT_ENGINE = "pocketsphinx"


@cache
def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def engine_names() -> tuple[str, ...]:
    """The names of all installed engines, sorted, without importing any."""
    return tuple(sorted(_entry_points()))


def get_engine(name: str) -> Engine:
    """Import the engine called `name`; raises UsageError for an unknown name."""
    try:
        point = _entry_points()[name]
    except KeyError:
        raise UsageError("unknown engine", name, f"choose one of {', '.join(engine_names())}") from None
    engine: Engine = point.load()
    return engine
