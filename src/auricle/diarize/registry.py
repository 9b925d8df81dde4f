"""The diarizers that are installed, found by entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from auricle.errors import UsageError

if TYPE_CHECKING:
    from auricle.diarize.contract import DiarizerEngine

GROUP = "auricle.diarizers"
DEFAULT = "embedded"


def diarizer_names() -> list[str]:
    """Return the names of all diarizers that are installed, sorted."""
    return sorted(entry_points(group=GROUP).names)


def get_diarizer(name: str = DEFAULT) -> DiarizerEngine:
    """Return the diarizer of that name; raises UsageError when there is none."""
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise UsageError("unknown diarizer", name, f"choose from {', '.join(diarizer_names())}")
    return cast("DiarizerEngine", next(iter(found)).load())
