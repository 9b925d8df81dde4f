"""Measure the verdicts of `auricle compare` with the very functions that it uses.

    python tools/check_comparisons.py simulated     planted slowdowns, equal arms, and planted points of WER
    python tools/check_comparisons.py real          ten trials on this machine: two arms that recognise the demo digits,
                                                    taking turns; one recognises a tenth of them again, so that it works
                                                    ten per cent more

In both a trial begins with six passes a side and then takes as many more as the tool asks for, until it has a verdict.
Simulated times are lognormal, or (`bursts`) have one pass in ten that is slower by a third. `--json` prints JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from auricle.report.compare import Timing, errors, timing
from auricle.report.gate import wilson
from auricle.report.sides import Heard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PILOT = 6
MOST_PASSES = 600
SLOWER = 1.1
SMALLEST = 0.1
REAL_PASSES = 60


@dataclass(frozen=True, slots=True)
class Row:
    """How often a verdict was reached in the trials of a case, with 95 % limits, and how many passes a side it took."""

    case: str
    verdict: str
    reached: int
    trials: int
    low: float
    high: float
    median_passes: float | None


def decided(draw: Callable[[bool], float], most: int) -> tuple[Timing, int]:
    """Measure two arms, `draw(True)` being the planted one, with the passes that are asked for."""
    a, b = ([draw(planted) for _ in range(PILOT)] for planted in (False, True))
    while True:
        found = timing("total", "passes", a, b, SMALLEST)
        if found.verdict != "not enough" or len(a) >= most:
            return found, len(a)
        for _ in range(min(found.more or PILOT, most - len(a))):
            for values, planted in random.sample(((a, False), (b, True)), 2):
                values.append(draw(planted))


def simulated(trials: int, seed: int) -> Iterator[Row]:
    """Yield the rows of the table."""
    for spread in (0.01, 0.03, 0.1):
        for bursts in (False, True):
            for slower, verdicts in ((SLOWER, ("worse",)), (1.0, ("worse", "better"))):
                chance = random.Random(f"{seed} {spread} {bursts} {slower}")  # noqa: S311  a simulation

                def draw(planted: bool, chance: random.Random = chance, slower: float = slower,
                         spread: float = spread, bursts: bool = bursts) -> float:  # fmt: skip
                    burst = 4 / 3 if bursts and chance.random() < 0.1 else 1.0  # noqa: PLR2004  one in ten
                    return (slower if planted else 1.0) * burst * chance.lognormvariate(0, spread)

                found = [decided(draw, MOST_PASSES) for _ in range(trials)]
                name = f"{100 * (slower - 1):.0f} % slower, spread {100 * spread:g} %{', bursts' if bursts else ''}"
                yield _row(name, verdicts, [(one.verdict, passes) for one, passes in found])
    yield from _wer(trials, seed)


def _wer(trials: int, seed: int) -> Iterator[Row]:
    for utterances, points, verdicts in (
        (2500, 0.01, ("worse",)),
        (2500, 0.0, ("worse", "better")),
        (40, 0.01, ("not enough",)),
    ):
        chance = random.Random(f"{seed} {utterances} {points}")  # noqa: S311
        found = []
        for trial in range(trials):
            speakers = [chance.lognormvariate(math.log(0.05), 0.5) for _ in range(50)]
            a, b = (
                {
                    f"u{n}": Heard(f"s{n % 50}", sum(chance.random() < speakers[n % 50] + more for _ in range(10)), 10)
                    for n in range(utterances)
                }
                for more in (0.0, points)
            )
            one = errors("wer", a, b, 1.0, resamples=1000, seed=trial)
            found.append(("not enough" if one is None else one.verdict, utterances))
        yield _row(f"{100 * points:g} points worse, {utterances} utterances of 10 words", verdicts, found)


def _row(case: str, verdicts: tuple[str, ...], found: Sequence[tuple[str, int]]) -> Row:
    reached = sum(verdict in verdicts for verdict, _ in found)
    passes = sorted(count for _, count in found)
    return Row(case, " or ".join(verdicts), reached, len(found), *wilson(reached, len(found)), passes[len(passes) // 2])


def real(trials: int) -> Iterator[Row]:
    """Yield the row of real trials: the demo digits by the FastConformer that is shipped, one thread."""
    from auricle.bench.arms import make_arms
    from auricle.corpus import open_corpus
    from auricle.engines.contract import TranscribeOptions
    from auricle.engines.loading import load
    from auricle.trace import Tracer

    recogniser = load(make_arms(["fastconformer"], [1])[0], Tracer())
    clips = [one.load(recogniser.info.sample_rate) for one in open_corpus("demo-digits").select(limit=20).utterances]
    total_s = sum(clip.duration_s for clip in clips)
    again = list(
        min(
            itertools.combinations(clips, 2),
            key=lambda pair: abs(sum(clip.duration_s for clip in pair) - (SLOWER - 1) * total_s),
        )
    )
    share = sum(clip.duration_s for clip in again) / total_s

    def draw(planted: bool) -> float:
        start_s = time.perf_counter()
        for clip in clips + (again if planted else []):
            recogniser.transcribe([clip], TranscribeOptions())
        return time.perf_counter() - start_s

    for planted in (False, True):
        draw(planted)
    found = [decided(draw, REAL_PASSES) for _ in range(trials)]
    name = f"real: {100 * share:.1f} % more audio, ratios {', '.join(f'{one.ratio.ratio:.3f}' for one, _ in found)}"
    yield _row(name, ("worse",), [(one.verdict, passes) for one, passes in found])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["simulated", "real"])
    parser.add_argument("--trials", type=int, help="of each case; 200, real 10")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    settings = parser.parse_args()
    rows = real(settings.trials or 10) if settings.what == "real" else simulated(settings.trials or 200, settings.seed)
    found = []
    if not settings.json:
        print("| case | verdict | reached, % (95 %) | median passes a side |\n|---|---|---:|---:|")
    for row in rows:
        found.append(asdict(row))
        if not settings.json:
            share = f"{100 * row.reached / row.trials:.1f} ({100 * row.low:.1f} to {100 * row.high:.1f})"
            print(f"| {row.case} | {row.verdict} | {share} | {row.median_passes:g} |", flush=True)
    if settings.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
