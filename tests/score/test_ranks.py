from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from auricle.errors import UsageError
from auricle.score.ranks import compare_times, mann_whitney, outliers, values_needed


@pytest.mark.parametrize(("n", "m"), [(1, 1), (4, 4), (6, 9), (30, 30), (1, 40)])
def test_small_samples_get_the_exact_p(n: int, m: int) -> None:
    rng = np.random.default_rng(n * m)
    a, b = rng.normal(10, 1, n), rng.normal(10.7, 1, m)
    wanted = stats.mannwhitneyu(b, a, method="exact")
    p, superiority = mann_whitney(a, b)
    assert p == pytest.approx(wanted.pvalue)
    assert superiority == pytest.approx(wanted.statistic / (n * m))


@pytest.mark.parametrize(("n", "m"), [(20, 25), (200, 150)])
def test_ties_and_large_samples_get_the_normal_p(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.integers(0, 9, n).astype(float), rng.integers(1, 10, m).astype(float)
    assert mann_whitney(a, b)[0] == pytest.approx(stats.mannwhitneyu(a, b, method="asymptotic").pvalue)


def test_equal_values_are_no_evidence() -> None:
    assert mann_whitney(np.ones(5), np.ones(6)) == (1.0, 0.5)


def test_the_ratio_is_that_of_the_medians_and_lies_in_its_interval() -> None:
    found = compare_times([1.0, 2.0, 3.0, 2.5, 1.5, 2.2], [2.0, 4.0, 6.0, 5.0, 3.0, 4.4])
    assert found.ratio == pytest.approx(2.0)
    assert found.low <= 2.0 <= found.high


def test_what_never_came_is_longer_than_anything() -> None:
    found = compare_times([1.0, 2.0, 3.0], [math.inf, math.inf, 2.0])
    assert math.isinf(found.ratio)
    assert found.superiority > 0.7
    assert compare_times([math.inf] * 3, [math.inf] * 3).ratio == 1


def test_the_number_of_values_grows_with_the_square_of_the_spread() -> None:
    rng = np.random.default_rng(1)
    shape = rng.normal(0, 1, 20)
    few, many = (values_needed(times, times, 0.05) for times in (np.exp(0.1 * k * shape).tolist() for k in (1, 3)))
    assert few is not None
    assert many == pytest.approx(9 * few, rel=0.1)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 2.0, math.inf], [0.0, 1.0, 2.0]])
def test_an_unknown_spread_gives_no_number(values: list[float]) -> None:
    assert values_needed(values, [1.0, 2.0, 3.0], 0.05) is None


def test_no_values_and_negative_ones_are_refused() -> None:
    with pytest.raises(UsageError, match="no values"):
        compare_times([], [1.0])
    with pytest.raises(UsageError, match="not negative"):
        compare_times([-1.0], [1.0])


def test_values_far_from_the_rest_are_counted() -> None:
    assert outliers([1.0, 1.1, 0.9, 1.05, 0.95, 9.0]) == 1
    assert outliers([1.0, 1.1, 0.9, 1.05, 0.95, 1.2]) == 0
    assert outliers([1.0, math.inf, math.inf]) == 0
