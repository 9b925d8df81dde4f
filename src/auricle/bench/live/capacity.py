"""The search for the most streams that hold the bounds: doubling, then bisection; it does no input or output.

A probe passes, fails or stays undecided, and can be wrong. An undecided one is given more time, and is then left
between the bounds: it raises neither. Both ends of the answer must have come out the same way twice. A void probe, of a
client that was not on time, tells nothing: it is repeated once, and when that is void too no more streams are tried
than below it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from auricle.bench.live.slo import Verdict

    Answer = Verdict | Literal["void"]
    Asking = Generator["Probe", Answer, "Known"]

Known = Literal["pass", "fail", "open"]
KNOWN: dict[Answer, Known] = {"pass": "pass", "fail": "fail", "undecided": "open", "void": "open"}
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
    """The answer: at least `low` streams hold the bounds, and at most `high`; None where none was found to fail.

    `void` is the fewest streams with which the client was twice not on time, None where it always was.
    """

    low: int
    high: int | None
    probes: int
    void: int | None = None


@dataclass(slots=True)
class _Search:
    passed: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    probes: int = 0
    void: int | None = None

    @property
    def low(self) -> int:
        return max(self.passed, default=0)

    @property
    def high(self) -> int | None:
        return min(self.failed, default=None)

    @property
    def top(self) -> int | None:
        """The fewest streams that failed or were void."""
        return min((end for end in (self.high, self.void) if end is not None), default=None)

    def ask(self, live: int, first: int, last: int) -> Asking:
        """Probe with growing effort until it is decided, and note what came out."""
        verdict: Answer = "undecided"
        was_void = False
        for effort in range(first, last + 1):
            self.probes += 1
            verdict = yield Probe(live, effort)
            if verdict == "void":
                self.probes += 1
                verdict = yield Probe(live, effort)
            was_void = verdict == "void"
            if verdict != "undecided":
                break
        if was_void:
            self.void = min(live, self.void or live)
        self.open = [other for other in self.open if other != live]
        known = KNOWN[verdict]
        {"pass": self.passed, "fail": self.failed, "open": self.open}[known].append(live)
        return known

    def confirm(self, live: int, expected: Known) -> Generator[Probe, Answer, None]:
        """Probe an end of the answer again; unless it comes out the same it is neither."""
        ends = self.passed if expected == "pass" else self.failed
        ends.remove(live)
        found = yield from self.ask(live, 1, MOST_EFFORT)
        if found not in {expected, "open"}:
            (self.failed if expected == "pass" else self.passed).remove(live)
            self.open.append(live)

    def gap(self) -> int | None:
        """Return the middle of the wider gap beside an end of the answer; None when both are fine enough."""
        if (top := self.top) is None:
            return None
        between = [live for live in self.open if self.low < live < top]
        gaps = {(self.low, min([*between, top])), (max([*between, self.low]), top)}
        low, high = max(gaps, key=lambda gap: gap[1] - gap[0])
        wide = high - low > max(1, round(FINENESS * high))
        return (low + high) // 2 if wide else None


def search(start: int, most: int = MOST_STREAMS) -> Generator[Probe, Answer, Capacity]:
    """Yield probes, take their verdicts, and return the capacity; begins at `start` streams, goes to `most`."""
    found = _Search()
    live = start
    while live <= most:
        if (yield from found.ask(live, 0, 0)) == "fail" or found.void is not None:
            break
        live *= 2
    for doubtful in sorted(found.open, reverse=True):
        if found.low < doubtful != found.void and (yield from found.ask(doubtful, 1, MOST_EFFORT)) == "pass":
            break
    while not found.passed and set(found.open) <= {found.void} and found.top is not None and found.top > 1:
        yield from found.ask(found.top // 2, 0, MOST_EFFORT)
    confirmed: set[tuple[int, Known]] = set()
    while True:
        while (middle := found.gap()) is not None:
            yield from found.ask(middle, 0, MOST_EFFORT)
        ends: list[tuple[int, Known]] = [(found.low, "pass")] if found.passed else []
        ends += [(found.high, "fail")] if found.high is not None else []
        left = [end for end in ends if end not in confirmed]
        if not left:
            return Capacity(found.low, None if found.high is None else found.high - 1, found.probes, found.void)
        confirmed.add(left[0])
        yield from found.confirm(*left[0])


def replay(start: int, verdicts: Sequence[Answer], most: int = MOST_STREAMS) -> Capacity | None:
    """Return what the search answers to these verdicts, in order; None when there are too few."""
    asking = search(start, most)
    next(asking)
    for verdict in verdicts:
        try:
            asking.send(verdict)
        except StopIteration as done:
            return done.value if isinstance(done.value, Capacity) else None
    return None
