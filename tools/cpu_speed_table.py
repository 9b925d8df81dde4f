"""The table of `cpu_speed.py`."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def table(cells: Sequence[dict[str, Any]]) -> str:
    """Return the results in Markdown: medians of the rounds, of ratios within a round, and their least and most."""
    lines = [
        "| model | chunk | streams | seconds of audio per core-second | Auricle over the peer | tokens/s | peak MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in cells:
        first, *peers = cell["speed"]
        own = cell["speed"][first]
        speeds = ", ".join(f"{_name(arm)} {_spread(speeds, 1)}" for arm, speeds in cell["speed"].items())
        ratios = ", ".join(
            f"{_name(peer)} {_spread([a / b for a, b in zip(own, cell['speed'][peer], strict=True)], 2)}"
            for peer in peers
        )
        kind = "offline" if cell["offline"] else f"{cell['chunk_ms']} ms"
        tokens = ", ".join(f"{_name(arm)} {rate:.1f}" for arm, rate in cell["tokens_per_s"].items())
        peak = ", ".join(f"{_name(arm)} {mib}" for arm, mib in cell["peak_mib"].items())
        lines.append(f"| {cell['model']} | {kind} | {cell['streams']} | {speeds} | {ratios} | {tokens} | {peak} |")
    return "\n".join(lines)


def _name(arm: str) -> str:
    return arm.removesuffix("-offline")


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
