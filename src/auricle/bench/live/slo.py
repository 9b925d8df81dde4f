"""What a level must hold to be good enough, and whether it does: yes, no, or not enough was seen.

A share is judged by its 95 % interval over streams: it passes when the upper limit is within the bound and there are 20
streams or more, fails when the lower one is beyond, and is undecided between. What a dialect cannot show is not judged,
and named.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from auricle.errors import UsageError
from auricle.score.bootstrap import MIN_BLOCKS, ratio_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Verdict = Literal["pass", "fail", "undecided"]
P95_BEYOND = 0.05


@dataclass(frozen=True, slots=True)
class Slo:
    """Bounds; None is no bound. `late_ms` is when a chunk is late; shares are of 1, the margin in points of WER.

    `final_p95_ms` holds when no more than 5 % of the finals are later, those that never came included, and likewise
    `ttft_p95_ms`.
    """

    final_p95_ms: float | None = 500.0
    ttft_p95_ms: float | None = None
    late_ms: float = 500.0
    late_share: float | None = 0.01
    wer_margin_points: float | None = 0.5
    refused_share: float | None = 0.0

    def __str__(self) -> str:
        bounds = [
            None if self.final_p95_ms is None else f"final p95 <= {self.final_p95_ms:g} ms",
            None if self.ttft_p95_ms is None else f"TTFT p95 <= {self.ttft_p95_ms:g} ms",
            None if self.late_share is None else f"late <= {100 * self.late_share:g} % (over {self.late_ms:g} ms)",
            None if self.wer_margin_points is None else f"WER not worse by {self.wer_margin_points:g}",
            None if self.refused_share is None else f"refused <= {100 * self.refused_share:g} %",
        ]
        return ", ".join(bound for bound in bounds if bound is not None)


def read_slo(path: Path) -> Slo:
    """Read bounds from TOML or JSON by the names of Slo, those left out as by default; raises UsageError.

    JSON's null, or false in either, takes a bound away.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError("the bounds cannot be read", f"{path} ({error})", "write TOML, or JSON as .json") from error
    known = {field.name for field in fields(Slo)}
    if not isinstance(found, dict) or found.keys() - known:
        raise UsageError("unknown bounds", path, f"known are {', '.join(sorted(known))}")
    for name, value in found.items():
        off = value is None or value is False
        number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        if not (number or (off and name != "late_ms")):
            raise UsageError(f"not a bound for {name}", value, "write a number that is not negative")
    return slo_of({"slo": {name: None if value is False else value for name, value in found.items()}})


def slo_of(settings: Mapping[str, Any]) -> Slo:
    """Return the bounds that a run's settings hold."""
    return Slo(**settings["slo"])


def share(beyond: Sequence[int], of: Sequence[int], bound: float, seed: int = 0) -> Verdict:
    """Judge sum(beyond) ÷ sum(of), one value of each a stream."""
    pairs = [(part, whole) for part, whole in zip(beyond, of, strict=True) if whole]
    if not pairs:
        return "undecided"
    if len(pairs) == 1:
        return "fail" if pairs[0][0] == pairs[0][1] else "undecided"
    low, high, _ = ratio_limits(
        np.array([float(part) for part, _ in pairs]), np.array([float(whole) for _, whole in pairs]), seed=seed
    )
    if high <= bound:
        return "pass" if len(pairs) >= MIN_BLOCKS else "undecided"
    return "fail" if low > bound else "undecided"


def together(criteria: Mapping[str, Verdict | None]) -> Verdict:
    """Return fail when any fails, pass when all that could be judged pass, else undecided."""
    known = [verdict for verdict in criteria.values() if verdict is not None]
    if "fail" in known:
        return "fail"
    return "pass" if known and all(verdict == "pass" for verdict in known) else "undecided"


def described(slo: Slo) -> dict[str, Any]:
    """Return the bounds as run records hold them."""
    return asdict(slo)
