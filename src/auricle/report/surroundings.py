"""What differs between the surroundings of two runs: machine, versions, settings, corpus, model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from auricle.report.sides import Side

CHANGES_ALWAYS = {"environment.captured", "environment.cpu.load_average", "environment.memory.available_bytes"}
OF_RUN = ("environment", "settings", "corpus", "normaliser")
OF_MODEL = ("family", "precision", "device", "parameters", "weights", "model", "notes", "says", "lookahead_ms")
LONGEST = 60


def differences(a: Side, b: Side) -> list[tuple[str, str, str]]:
    """Return place, value of side A and value of side B for all that differs between the first runs of two sides.

    What the arms are, and which of their settings differ, is part of it; what changes with every run is not.
    """
    first, second = (dict(_flat(_told(side))) for side in (a, b))
    names = dict.fromkeys((*first, *second))
    return [
        (name, _short(first.get(name)), _short(second.get(name)))
        for name in names
        if name not in CHANGES_ALWAYS and first.get(name) != second.get(name)
    ]


def _told(side: Side) -> dict[str, Any]:
    run, events, arm = side.runs[0], side.events[0], side.arms[0]
    told: dict[str, Any] = {name: run.info.get(name) for name in OF_RUN}
    told["settings"] = {name: value for name, value in (told["settings"] or {}).items() if name not in {"arms", "seed"}}
    loaded = next((e for e in events if e.get("arm") == arm and e["event"] in {"loaded", "arm"}), {})
    model = loaded.get("info") or {"says": loaded.get("says"), "lookahead_ms": loaded.get("lookahead_ms")}
    return told | {
        "arm": arm,
        "model": {name: model[name] for name in (*OF_MODEL, "says", "lookahead_ms") if name in model},
    }


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, part in value.items():
        if isinstance(part, dict):
            yield from _flat(part, f"{prefix}{key}.")
        else:
            yield prefix + key, part


def _short(value: Any) -> str:
    text = "-" if value in (None, [], {}) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def shown(found: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """Yield a line for each difference."""
    for name, one, other in found:
        yield f"  {name}: {one} -> {other}"
