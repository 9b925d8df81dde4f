"""Measure the statistics of auricle on simulated corpora, with the very functions that the benchmarks use.

    python tools/check_statistics.py coverage       how often the 95 % interval of the WER holds the true WER
    python tools/check_statistics.py false-alarm    how often two equal runs are told apart (A/A), and how often the
                                                    non-inferiority test passes a run that is worse by the whole margin
    python tools/check_statistics.py share          how often a share of late packets that equals its bound is said to
                                                    hold it, and how often to break it, by the number of streams

Corpora are drawn speaker by speaker: how much a speaker says and how well the recogniser understands them vary between
speakers, errors are overdispersed within utterances. With `--one-each` a speaker says one utterance, so that
`--speakers 6 8 --min-blocks 1` shows what so few utterances can tell. Packets are late stream by stream. The Markdown
table takes some minutes; `--json` prints one JSON object instead.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from auricle.bench.live.slo import share
from auricle.score.bootstrap import MIN_BLOCKS, block_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from auricle.score.bootstrap import Interval

    Integers = NDArray[np.int64]

SPEAKERS = (5, 10, 20, 30, 50, 100)
NORMAL_975 = 1.959964


@dataclass(frozen=True, slots=True)
class Population:
    """Speakers: mean error rate and its coefficient of variation, mean utterances and the sigma of their logarithm.

    `correlation` is that of a speaker's log size and log rate; a share `accented` of the speakers has `accent_rate`.
    """

    name: str
    rate: float
    rate_cv: float
    utterances: int
    size_sigma: float
    correlation: float = 0.0
    accented: float = 0.0
    accent_rate: float = 0.0


POPULATIONS = (
    Population("read speech, 3 %", 0.03, 0.6, 20, 0.3),
    Population("clean, 1 %", 0.01, 1.0, 15, 0.6),
    Population("conversation, 25 %", 0.25, 0.4, 30, 1.0),
    Population("accents, a tenth at 25 %", 0.08, 0.5, 20, 0.6, accented=0.1, accent_rate=0.25),
    Population("who says more errs more, 12 %", 0.12, 0.5, 20, 0.6, correlation=0.3),
)
EXTREME = (
    Population("extreme: a tenth at 35 %", 0.07, 0.5, 20, 0.8, accented=0.1, accent_rate=0.35),
    Population("extreme: sizes and rates strongly linked", 0.12, 0.6, 20, 0.8, correlation=0.5),
)


@dataclass(frozen=True, slots=True)
class Pairing:
    """How two runs relate: B redraws the errors in a share `redrawn` of A's utterances, `ratio` times as many.

    `preference` is the sigma of how much better than on average each run understands a speaker.
    """

    name: str
    redrawn: float
    ratio: float = 1.0
    preference: float = 0.0


EQUAL = (
    Pairing("A/A, every utterance decoded anew", 1.0),
    Pairing("A/A, a tenth of the utterances changes", 0.1),
    Pairing("equal on average, speakers prefer one", 1.0, preference=0.2),
)
WORSE = (
    Pairing("B worse by the margin", 1.0, ratio=1.2),
    Pairing("B worse by the margin, a tenth changes", 0.1, ratio=1.5),
    Pairing("B worse by the margin, speakers differ", 1.0, ratio=1.2, preference=0.2),
)


def draw(
    population: Population, speakers: int, pairing: Pairing, rng: np.random.Generator
) -> tuple[Integers, Integers, Integers, Integers]:
    """Return errors of run A, errors of run B, reference words and speaker, each of shape `(utterances,)`."""
    size, other = rng.standard_normal((2, speakers))
    sigma = population.size_sigma
    counts = np.maximum(1, np.round(population.utterances * np.exp(sigma * size - sigma**2 / 2))).astype(np.int64)
    speaker = np.repeat(np.arange(speakers), counts)
    words = 1 + rng.negative_binomial(3, 3 / 17, speaker.size)
    shared = population.correlation * size + math.sqrt(1 - population.correlation**2) * other
    spread = math.sqrt(math.log1p(population.rate_cv**2))
    rates = population.rate * np.exp(spread * shared - spread**2 / 2)
    accented = rng.random(speakers) < population.accented
    rates = np.where(accented, population.accent_rate * np.exp(0.3 * rng.standard_normal(speakers)), rates)
    expected = np.minimum(rates, 1.0)[speaker] * words * rng.gamma(2, 0.5, speaker.size)
    liking = np.exp(pairing.preference * rng.standard_normal((2, speakers)) - pairing.preference**2 / 2)
    first = rng.poisson(expected * liking[0, speaker])
    second = rng.poisson(pairing.ratio * expected * liking[1, speaker])
    second = np.where(rng.random(speaker.size) < pairing.redrawn, second, first)
    return first, second, words, speaker


@dataclass(frozen=True, slots=True)
class Case:
    """What is counted: intervals of run A's rate, or of the difference when `paired`, that are a hit by the truth."""

    name: str
    population: Population
    pairing: Pairing
    paired: bool
    hit: Callable[[Interval, float], bool]


def cases(what: str, *, one_each: bool) -> Iterator[Case]:
    """Yield the rows of the table `what`."""
    populations = POPULATIONS + (EXTREME if what == "coverage" else ())
    if one_each:
        populations = tuple(replace(one, utterances=1, size_sigma=0.0, correlation=0.0) for one in populations)
    for population in populations:
        if what == "coverage":
            yield Case("coverage", population, EQUAL[0], False, lambda one, rate: one.low <= rate <= one.high)
            continue
        for pairing in EQUAL:
            name = f"told apart: {pairing.name}"
            yield Case(name, population, pairing, True, lambda one, _: one.low > 0 or one.high < 0)
        for pairing in WORSE:
            name = f"passed: {pairing.name}"
            yield Case(name, population, pairing, True, lambda one, margin: one.high < margin)


def truth(case: Case, rng: np.random.Generator) -> float:
    """Return the error rate of run A, or the difference B - A, in the whole population."""
    first, second, words, _ = draw(case.population, 200_000, case.pairing, rng)
    return float((second - first if case.paired else first).sum() / words.sum())


def measure(case: Case, value: float, speakers: int, settings: argparse.Namespace) -> dict[str, float]:
    """Return the share of simulated corpora whose interval is a hit when the truth is `value`, with Wilson limits."""
    rng = np.random.default_rng([settings.seed, speakers])
    hits = 0
    for corpus in range(settings.corpora):
        first, second, words, speaker = draw(case.population, speakers, case.pairing, rng)
        limits = block_interval(
            (second - first if case.paired else first).tolist(),
            words.tolist(),
            [f"speaker {one}" for one in speaker],
            signed=case.paired,
            min_blocks=settings.min_blocks,
            resamples=settings.resamples,
            seed=corpus,
        )
        hits += case.hit(limits, value)
    low, high = wilson(hits, settings.corpora)
    return {"speakers": speakers, "share": hits / settings.corpora, "low": low, "high": high}


@dataclass(frozen=True, slots=True)
class Lateness:
    """A share of packets is late in truth, `packets` of them in each stream; `correlation` is that within a stream."""

    late: float
    packets: int
    correlation: float

    def __str__(self) -> str:
        return f"{self.packets} packets, {100 * self.late:g} % late, correlation {self.correlation:g}"


LATENESS = tuple(
    Lateness(late, packets, correlation)
    for late, packets in ((0.01, 100), (0.01, 600), (0.05, 100), (0.05, 1))
    for correlation in (0.001, 0.05, 0.3)
)


def judge(lateness: Lateness, verdict: str, streams: int, settings: argparse.Namespace) -> dict[str, float]:
    """Return the share of simulated levels, whose true share equals the bound, with that verdict, and Wilson limits."""
    rng = np.random.default_rng([settings.seed, streams])
    spread = (1 - lateness.correlation) / lateness.correlation
    hits = 0
    for level in range(settings.corpora):
        rates = rng.beta(lateness.late * spread, (1 - lateness.late) * spread, streams)
        late = rng.binomial(lateness.packets, rates)
        hits += share(late.tolist(), [lateness.packets] * streams, lateness.late, level) == verdict
    low, high = wilson(hits, settings.corpora)
    return {"streams": streams, "share": hits / settings.corpora, "low": low, "high": high}


def rows(settings: argparse.Namespace) -> Iterator[tuple[str, str, list[dict[str, float]]]]:
    """Yield the rows of the table: case, population, and a figure for each number of speakers or streams."""
    if settings.what == "share":
        for lateness in LATENESS:
            for verdict in ("pass", "fail"):
                yield verdict, str(lateness), [judge(lateness, verdict, many, settings) for many in settings.speakers]
        return
    for case in cases(settings.what, one_each=settings.one_each):
        value = truth(case, np.random.default_rng(settings.seed))
        yield case.name, case.population.name, [measure(case, value, many, settings) for many in settings.speakers]


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Return the 95 % limits of a proportion (Wilson 1927)."""
    centre = (hits + NORMAL_975**2 / 2) / (total + NORMAL_975**2)
    half = NORMAL_975 / (total + NORMAL_975**2) * math.sqrt(hits * (total - hits) / total + NORMAL_975**2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["coverage", "false-alarm", "share"])
    parser.add_argument("--corpora", type=int, default=400, help="simulated corpora for each figure")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples for each corpus")
    parser.add_argument("--speakers", type=int, nargs="+", default=SPEAKERS, help="speakers of a corpus, or streams")
    parser.add_argument("--one-each", action="store_true", help="a speaker says one utterance")
    parser.add_argument("--min-blocks", type=int, default=MIN_BLOCKS, help="with fewer speakers utterances are drawn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    settings = parser.parse_args()
    found = []
    if not settings.json:
        of = "streams" if settings.what == "share" else "speakers"
        print("| case | population |", " | ".join(f"{many} {of}" for many in settings.speakers), "|")
        print("| --- " * (2 + len(settings.speakers)) + "|")
    for name, population, figures in rows(settings):
        found.append({"case": name, "population": population, "figures": figures})
        if not settings.json:
            shown = (f"{100 * one['share']:.1f} ({100 * one['low']:.1f} to {100 * one['high']:.1f})" for one in figures)
            print("|", name, "|", population, "|", " | ".join(shown), "|", flush=True)
    if settings.json:
        print(json.dumps({"corpora": settings.corpora, "resamples": settings.resamples, "rows": found}))


if __name__ == "__main__":
    main()
