"""Which runs of a folder a new one is compared with: kept baselines, or the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from auricle.bench.index import RunIndex
from auricle.errors import UsageError
from auricle.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from auricle.bench.records import Run

BASELINE_FILE = "baseline.txt"
Against = Literal["baseline", "previous"]


def keep(root: Path, runs: Sequence[Run]) -> None:
    """Keep these runs as the baseline of their folder."""
    outside = [str(run.path) for run in runs if run.path.parent != root.resolve()]
    if outside:
        raise UsageError("a baseline lies in the folder of runs", ", ".join(outside), f"move it into {root}")
    write_text(root / BASELINE_FILE, "".join(f"{run.id}\n" for run in runs))


def find(root: Path, run: Run, against: Against, tell: Callable[[str], None]) -> list[Run]:
    """Return the runs to compare a run with: of its kind, on its corpus, finished, and before it (`previous`: one).

    Raises UsageError where there is none.
    """
    index = RunIndex(root, tell)
    names = [row.id for row in index.list(run.info["kind"], None)]
    if against == "baseline":
        path = root / BASELINE_FILE
        if not path.exists():
            raise UsageError("no baseline is kept", path, "keep one with `auricle compare --keep RUN`")
        names = [name for name in path.read_text(encoding="utf-8").split() if name in names]
    found = []
    for name in names:
        other = index.get(name)
        is_before = against == "baseline" or other.info["started"] < run.info["started"]
        if name != run.id and is_before and other.info["status"] == "finished" and _alike(run, other):
            found.append(other)
            if against == "previous":
                break
    if not found:
        raise UsageError(f"there is no {against} run of this kind and corpus", run.id, f"looked in {root}")
    return found


def _alike(a: Run, b: Run) -> bool:
    return bool((a.info.get("corpus") or {}).get("hash") == (b.info.get("corpus") or {}).get("hash"))
