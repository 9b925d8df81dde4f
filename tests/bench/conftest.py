"""Runs of the live benchmark that several tests look at: made once, and at the same time, because they wait a lot."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.bench.planted_runs import Planted, Run, bench, sweep
from tests.bench.planted_server import Level, Plan
from tests.bench.planted_speech import Shape, make_corpus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_LIVE = 6
SLOPE = 0.5
# One word a step of partials, and so short that a level of seven seconds holds enough streams for medians.
QUICK = Shape(words=8, lead_s=0.3, word_s=0.14, gap_s=0.06, tail_s=0.36)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Future[Planted], Future[Planted], Future[Run]]]:
    """The runs below, under way."""
    makers = ThreadPoolExecutor(3)
    yield (
        makers.submit(make_curve, tmp_path_factory.mktemp("curve")),
        makers.submit(make_joined, tmp_path_factory.mktemp("joined")),
        makers.submit(make_null, tmp_path_factory.mktemp("null")),
    )
    makers.shutdown()


@pytest.fixture(scope="session")
def curve(runs: tuple[Future[Planted], ...]) -> Planted:
    """One, four and eight streams on a server that errs from three on, falls behind from six on, and lets in six."""
    return runs[0].result()


@pytest.fixture(scope="session")
def joined(runs: tuple[Future[Planted], ...]) -> Planted:
    """Seven streams of several utterances each, in a dialect that tells no coverage, and a stall in all of them."""
    return runs[1].result()


@pytest.fixture(scope="session")
def null(runs: tuple[Future[Planted], Future[Planted], Future[Run]]) -> Run:
    """Our own server on the engine that hears samples and no speech."""
    return runs[2].result()


def make_curve(folder: Path) -> Planted:
    erring = Level(
        delay_s=(0.5, 0.9),
        finalize_s=(0.6, 0.8),
        errors={1: "S", 3: "D", 5: "I"},
        unstable=frozenset({4}),
        drop_each=5,
        silent_each=7,
        truncate_each=3,
    )
    levels = {0: Level(), 3: erring, MOST_LIVE: Level(slope=SLOPE)}
    plan = Plan(levels, most_live=MOST_LIVE, accept_s=0.3)
    return sweep(folder, plan, "--concurrency", "1,4,8", "--seconds", "7", shape=QUICK)


def make_joined(folder: Path) -> Planted:
    plan = Plan({0: Level(stall_at_s=2.0, stall_s=1.5)}, endpoint_s=0.4)
    options = ["--concurrency", "7", "--seconds", "2", "--stream-seconds", "5", "--gap", "0.8", "--no-reference"]
    return sweep(folder, plan, *options, dialect="sherpa", shape=Shape(words=5))


def make_null(folder: Path) -> Run:
    """The normaliser `basic` is what the independent script can do."""
    manifest = make_corpus(folder / "corpus", 3, Shape(words=4))
    options = ["--normaliser", "basic", "--concurrency", "1,6", "--seconds", "1"]
    return bench(folder / "runs", "--spawn", "--engine null", "--corpus", str(manifest), *options)
