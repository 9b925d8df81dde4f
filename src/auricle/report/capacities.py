"""How many streams a live run held, computed from its raw events."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from auricle.bench.live.slo import slo_of
from auricle.errors import UsageError
from auricle.report.prices import Capacity
from auricle.report.reading import summary_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auricle.bench.live.slo import Slo
    from auricle.bench.records import Run

BYTES_PER_GB = 1_000_000_000
PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Held:
    """The most streams of an arm that held the bounds, whether the next level broke them, and the level's figures."""

    run: str
    arm: str
    streams: int
    broken_at: int | None
    bounds: str
    level: Mapping[str, Any]

    def capacity(self, price: str) -> Capacity:
        """Return it as the capacity of a machine at a price; the client must have been on time (see `held`)."""
        server, wer = self.level["server"], self.level["wer"]
        device_bytes, duty = server["peak_device_bytes"], server["duty"]
        return Capacity(
            price=price,
            streams=float(self.streams),
            how="measured",
            source=f"{self.run}, {self.arm}: {self.bounds}",
            wer_percent=None if wer is None else PERCENT * wer["rate"],
            memory_gb=device_bytes / BYTES_PER_GB if device_bytes else None,
            duty=min(duty, 1.0) if device_bytes and duty else None,
        )


def held(run: Run, arm: str | None = None, bounds: Slo | None = None) -> Held:
    """Return what an arm of a live run held, judged anew by these bounds or by its own.

    Raises UsageError for a run that is not live, an arm that it does not have, and one that held nothing.
    """
    if run.info["kind"] != "live":
        raise UsageError("only a live run tells a capacity", run.id, "run `auricle bench live`")
    settings = dict(run.info["settings"])
    if bounds is not None:
        settings["slo"] = asdict(bounds)
    summary = summary_of(run, settings)
    names = [one["name"] for one in summary["arms"]]
    chosen = arm or next(iter(names), "")
    if chosen not in names:
        raise UsageError("the run has no such arm", f"{run.id}: {arm}", f"one of {', '.join(names)}")
    paced = [one for one in summary["levels"] if one["arm"] == chosen and "slo" in one and not one["client"]["void"]]
    passed = [one for one in paced if one["slo"]["verdict"] == "pass"]
    found = summary["capacity"][chosen]
    most = max((one["live"] for one in passed), default=0)
    if found is not None and bounds is None:
        most = found["low"]
    if not most or not any(one["live"] == most for one in paced):
        verdicts = ", ".join(f"{one['live']} live: {one['slo']['verdict']}" for one in paced) or "no level is sound"
        remedy = "give the levels more --seconds, fewer streams, or wider --slo"
        raise UsageError("no load held the bounds, so there is no capacity", f"{run.id} ({verdicts})", remedy)
    level = next(one for one in passed or paced if one["live"] == most)
    broken = min((one["live"] for one in paced if one["slo"]["verdict"] == "fail"), default=None)
    return Held(run.id, chosen, most, broken, str(slo_of(settings)), level)


def by_bounds(run: Run, arm: str | None = None) -> dict[str, int | None]:
    """Return what the run held under tighter and wider bounds of the final's latency; None where it held nothing."""
    own = slo_of(run.info["settings"])
    found: dict[str, int | None] = {}
    for factor in (0.5, 1.0, 2.0):
        if own.final_p95_ms is None:
            break
        bounds = replace(own, final_p95_ms=factor * own.final_p95_ms)
        try:
            found[f"final p95 <= {bounds.final_p95_ms:g} ms"] = held(run, arm, bounds).streams
        except UsageError:
            found[f"final p95 <= {bounds.final_p95_ms:g} ms"] = None
    return found
