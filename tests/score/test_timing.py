"""Timings claim what their number supports."""

import math

import numpy as np
import pytest
from scipy import stats

from auricle.errors import UsageError
from auricle.score.timing import Median, median_interval, observations_needed, percentile


@pytest.mark.parametrize(("quantile", "late", "needed"), [
    (0.9, 0, 44), (0.95, 0, 90), (0.99, 0, 459), (0.999, 0, 4603), (0.99, 1, 662), (0.5, 0, 7),
])  # fmt: skip
def test_the_observations_that_prove_a_tail(quantile: float, late: int, needed: int) -> None:
    assert observations_needed(quantile, late) == needed


@pytest.mark.parametrize("quantile", [0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("late", [0, 1, 5])
def test_one_observation_fewer_would_not_do(quantile: float, late: int) -> None:
    needed, beyond = observations_needed(quantile, late), min(quantile, 1 - quantile)
    assert stats.binom.cdf(late, needed, beyond) <= 0.01 < stats.binom.cdf(late, needed - 1, beyond)


def test_an_extreme_tail_is_answered_at_once() -> None:
    assert observations_needed(0.999_999) == 4_605_168


def test_a_percentile_is_given_only_where_the_sample_supports_it() -> None:
    values = [float(i) for i in range(1, 45)]
    assert percentile(values[:43], 0.9) is None
    assert percentile(values, 0.9) == 40
    assert percentile(values, 0.95) is None


def test_what_counts_is_the_independent_observations() -> None:
    values = [float(i) for i in range(1000)]
    assert percentile(values, 0.9, independent=12) is None
    assert percentile(values, 0.9, independent=44) == 899


def test_a_percentile_is_the_observation_of_the_nearest_rank() -> None:
    values = np.random.default_rng(1).exponential(1.0, 510).tolist()
    assert percentile(values, 0.95) == sorted(values)[math.ceil(0.95 * 510) - 1]


@pytest.mark.parametrize("quantile", [0.0, 1.0, -1.0, 95.0, float("nan")])
def test_a_quantile_outside_zero_and_one_is_refused(quantile: float) -> None:
    with pytest.raises(UsageError, match="quantile"):
        percentile([1.0], quantile)


@pytest.mark.parametrize("count", [6, 7, 8, 9, 10, 15, 20, 21, 50, 100, 1001])
def test_the_limits_of_a_median_are_the_order_statistics_of_the_binomial(count: int) -> None:
    median = median_interval([float(i) for i in range(1, count + 1)])
    assert median.low is not None
    rank = int(median.low)
    assert median.high == count + 1 - rank
    assert 1 - 2 * stats.binom.cdf(rank - 1, count, 0.5) >= 0.95 > 1 - 2 * stats.binom.cdf(rank, count, 0.5)


def test_five_runs_are_not_enough_for_an_interval() -> None:
    assert median_interval([3.0, 1.0, 2.0, 5.0, 4.0]) == Median(3.0, None, None)
    assert median_interval([7.0]) == Median(7.0, None, None)


def test_an_outlier_is_kept_and_moves_the_median_little() -> None:
    median = median_interval([1.0, 1.1, 1.2, 1.3, 1.4, 99.0])
    assert (median.low, median.high) == (1.0, 99.0)
    assert median.value == pytest.approx(1.25)


def test_a_median_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no values"):
        median_interval([])


def test_the_interval_of_a_median_covers_it() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(1000):
        median = median_interval(rng.exponential(1.0, 15).tolist())
        assert median.low is not None
        assert median.high is not None
        held += median.low <= np.log(2) <= median.high
    assert 0.94 <= held / 1000 <= 0.99
