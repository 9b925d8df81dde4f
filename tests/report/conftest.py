from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.report.made_runs import make_run, utterances

if TYPE_CHECKING:
    from auricle.bench.records import Run

SPOKEN = utterances(12)


def passes(many: int, seconds: float, spread: float, seed: int) -> list[list[float]]:
    """Seconds of each utterance in each pass; what differs from pass to pass is lognormal."""
    chance = random.Random(seed)
    return [[seconds * chance.lognormvariate(0, spread)] * len(SPOKEN) for _ in range(many)]


@pytest.fixture(scope="session")
def two_arms(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of twelve utterances and two arms: `slow` takes 30 % longer and has errors."""
    arms = {"quick": passes(8, 1.0, 0.01, 1), "slow": passes(8, 1.3, 0.01, 2)}
    return make_run(tmp_path_factory.mktemp("two"), arms, SPOKEN, {"slow": [3, 1, *[0] * 9, 1]})
