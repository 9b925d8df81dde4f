"""The search for the most streams that hold the bounds: doubling, then bisection; it does no input or output.

A probe passes, fails or stays undecided, and can be wrong. An undecided one is given more time, and is then left
between the bounds: it raises neither. Both ends of the answer must have come out the same way twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from auricle.bench.live.slo import Verdict

    Asking = Generator["Probe", Verdict, "Known"]

Known = Literal["pass", "fail", "open"]
FINENESS = 0.05
MOST_EFFORT = 2
MOST_STREAMS = 16_384


@dataclass(frozen=True, slots=True)
class Probe:
    """A question: do so many live streams hold the bounds? `effort` 1 and 2 are given two and four times the time."""

    live: int
    effort: int


@dataclass(frozen=True, slots=True)
class Capacity:
    """The answer: at least `low` streams hold the bounds, and at most `high`; None where none was found to fail."""

    low: int
    high: int | None
    probes: int


@dataclass(slots=True)
class _Search:
    passed: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    probes: int = 0

    @property
    def low(self) -> int:
        return max(self.passed, default=0)

    @property
    def high(self) -> int | None:
        return min(self.failed, default=None)

    def ask(self, live: int, first: int, last: int) -> Asking:
        """Probe with growing effort until it is decided, and note what came out."""
        verdict: Verdict = "undecided"
        for effort in range(first, last + 1):
            self.probes += 1
            verdict = yield Probe(live, effort)
            if verdict != "undecided":
                break
        self.open = [other for other in self.open if other != live]
        known: Known = "open" if verdict == "undecided" else verdict
        {"pass": self.passed, "fail": self.failed, "open": self.open}[known].append(live)
        return known

    def confirm(self, live: int, expected: Known) -> Generator[Probe, Verdict, None]:
        """Probe an end of the answer again; unless it comes out the same it is neither."""
        ends = self.passed if expected == "pass" else self.failed
        ends.remove(live)
        found = yield from self.ask(live, 1, MOST_EFFORT)
        if found not in {expected, "open"}:
            (self.failed if expected == "pass" else self.passed).remove(live)
            self.open.append(live)

    def gap(self) -> int | None:
        """Return the middle of the wider gap beside an end of the answer; None when both are fine enough."""
        if self.high is None:
            return None
        between = [live for live in self.open if self.low < live < self.high]
        gaps = {(self.low, min([*between, self.high])), (max([*between, self.low]), self.high)}
        low, high = max(gaps, key=lambda gap: gap[1] - gap[0])
        wide = high - low > max(1, round(FINENESS * high))
        return (low + high) // 2 if wide else None


def search(start: int, most: int = MOST_STREAMS) -> Generator[Probe, Verdict, Capacity]:
    """Yield probes, take their verdicts, and return the capacity; begins at `start` streams, goes to `most`."""
    found = _Search()
    live = start
    while live <= most:
        if (yield from found.ask(live, 0, 0)) == "fail":
            break
        live *= 2
    for doubtful in sorted(found.open, reverse=True):
        if found.low < doubtful and (yield from found.ask(doubtful, 1, MOST_EFFORT)) == "pass":
            break
    while not found.passed and not found.open and found.high is not None and found.high > 1:
        yield from found.ask(found.high // 2, 0, MOST_EFFORT)
    confirmed: set[tuple[int, Known]] = set()
    while True:
        while (middle := found.gap()) is not None:
            yield from found.ask(middle, 0, MOST_EFFORT)
        ends: list[tuple[int, Known]] = [(found.low, "pass")] if found.passed else []
        ends += [(found.high, "fail")] if found.high is not None else []
        left = [end for end in ends if end not in confirmed]
        if not left:
            return Capacity(found.low, None if found.high is None else found.high - 1, found.probes)
        confirmed.add(left[0])
        yield from found.confirm(*left[0])


def replay(start: int, verdicts: Sequence[Verdict], most: int = MOST_STREAMS) -> Capacity | None:
    """Return what the search answers to these verdicts, in order; None when there are too few."""
    asking = search(start, most)
    next(asking)
    for verdict in verdicts:
        try:
            asking.send(verdict)
        except StopIteration as done:
            return done.value if isinstance(done.value, Capacity) else None
    return None
