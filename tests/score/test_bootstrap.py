"""The interval of an error rate, checked against scipy and by simulation."""

import importlib.util
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from auricle.score.bootstrap import _POISSON, block_interval, ratio_limits, resample, student_quantile

Values = NDArray[np.float64]
TOOL = Path(__file__).parents[2] / "tools" / "check_statistics.py"


def corpus(speakers: int, seed: int) -> tuple[Values, Values]:
    """Return errors and words per speaker, skewed and unequal."""
    rng = np.random.default_rng(seed)
    words = rng.integers(50, 500, speakers).astype(np.float64)
    return rng.poisson(words * rng.gamma(2, 0.04, speakers)).astype(np.float64), words


def ratio(errors: Values, words: Values, axis: int = -1) -> Values:
    total: Values = errors.sum(axis) / words.sum(axis)
    return total


def jackknife_error(errors: Values, words: Values, axis: int = -1) -> Values:
    """Return the standard error of the ratio, leaving each unit out in turn: another way than linearisation."""
    count = errors.shape[axis]
    left = (errors.sum(axis, keepdims=True) - errors) / (words.sum(axis, keepdims=True) - words)
    error: Values = np.sqrt((count - 1) / count * ((left - left.mean(axis, keepdims=True)) ** 2).sum(axis))
    return error


def scipy_draws(statistic: Callable[..., Values], errors: Values, words: Values) -> Values:
    done = stats.bootstrap(
        (errors, words), statistic, paired=True, n_resamples=20_000, method="percentile", rng=np.random.default_rng(5)
    )
    draws: Values = done.bootstrap_distribution
    return draws


@pytest.mark.parametrize(("speakers", "seed"), [(20, 1), (30, 2), (60, 3)])
def test_resampled_ratios_have_the_distribution_of_scipys(speakers: int, seed: int) -> None:
    errors, words = corpus(speakers, seed)
    ours, _ = resample(errors, words, 20_000, seed=1)
    theirs = scipy_draws(ratio, errors, words)
    probabilities = [0.025, 0.25, 0.5, 0.75, 0.975]
    assert np.quantile(ours, probabilities) == pytest.approx(np.quantile(theirs, probabilities), rel=0.01)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.03)


@pytest.mark.parametrize(("speakers", "seed"), [(20, 1), (30, 2), (60, 3)])
def test_the_limits_are_those_of_an_independent_studentised_bootstrap(speakers: int, seed: int) -> None:
    errors, words = corpus(speakers, seed)
    value = float(ratio(errors, words))

    def distance(e: Values, w: Values, axis: int = -1) -> Values:
        residuals = e - ratio(e, w, axis)[..., None] * w
        error = np.sqrt(e.shape[axis] * residuals.var(axis, ddof=1)) / w.sum(axis)
        apart: Values = (ratio(e, w, axis) - value) / error
        return apart

    draws = scipy_draws(distance, errors, words)
    error = float(np.sqrt(speakers * (errors - value * words).var(ddof=1)) / words.sum())
    tail = stats.norm.cdf(np.sqrt(speakers / (speakers - 1)) * stats.t.ppf(0.025, speakers - 1))
    low, high = np.quantile(draws, [tail, 1 - tail])
    both = float(np.quantile(np.abs(draws), 0.95))
    expected = (value - max(float(high), both) * error, value + max(-float(low), both) * error)
    ours = ratio_limits(errors, words, resamples=20_000)
    assert ours[2] == "studentised bootstrap"
    assert ours[:2] == pytest.approx((max(expected[0], 0), expected[1]), abs=0.1 * error)


def test_the_standard_error_agrees_with_the_jackknife() -> None:
    errors, words = corpus(200, 4)
    _, spread = resample(errors, words, 200, seed=1)
    assert float(np.median(spread)) == pytest.approx(float(jackknife_error(errors, words)), rel=0.1)


def test_the_interval_contains_that_of_scipys_bca_on_plain_data_nearly() -> None:
    errors, words = corpus(100, 6)
    low, high, _ = ratio_limits(errors, words)
    bca = stats.bootstrap((errors, words), ratio, paired=True, method="BCa", rng=np.random.default_rng(1))
    width = bca.confidence_interval.high - bca.confidence_interval.low
    assert low == pytest.approx(bca.confidence_interval.low, abs=0.1 * width)
    assert high == pytest.approx(bca.confidence_interval.high, abs=0.1 * width)


def test_the_poisson_limits_are_garwoods() -> None:
    exact = [(stats.chi2.ppf(0.025, 2 * k) / 2 if k else 0.0, stats.chi2.ppf(0.975, 2 * k + 2) / 2) for k in range(6)]
    assert np.array(_POISSON) == pytest.approx(np.array(exact), abs=1e-4)


@pytest.mark.parametrize("degrees", [5, 6, 9, 19, 29, 99, 10_000])
def test_students_quantile_is_scipys(degrees: int) -> None:
    assert student_quantile(0.975, degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=0.01)


def test_few_errors_are_a_poisson_count_of_units() -> None:
    """By hand: two units of three errors each in 1,000 words: 0.2422 x 3 to 7.2247 x 3."""
    errors = np.array([3.0, 3.0] + [0.0] * 48)
    low, high, method = ratio_limits(errors, np.full(50, 20.0))
    assert method == "Poisson limits"
    assert (low, high) == pytest.approx((0.2422 * 3 / 1000, 7.2247 * 3 / 1000))


@pytest.mark.parametrize("units", [1, 3, 6, 9, 12])
def test_no_limit_of_few_units_is_beyond_all_that_they_hold(units: int) -> None:
    """The studentised limits of six utterances went above 200 % in one corpus of seventeen, to 8,977 % at worst."""
    rng = np.random.default_rng(units)
    for _ in range(100):
        words = rng.integers(2, 30, units).astype(np.float64)
        errors = rng.binomial(words.astype(np.int64), rng.beta(0.5, 3, units)).astype(np.float64)
        low, high, _ = ratio_limits(errors, words, resamples=1000)
        assert 0 <= low <= errors.sum() / words.sum() <= high <= 1


def test_below_ten_units_the_percentiles_are_taken_and_it_is_said() -> None:
    interval = block_interval([1, 2, 3, 1, 2, 4, 2], [10] * 7, list("abcdefg"))
    assert interval.method == "percentile bootstrap"
    assert "too few utterances (7 < 10)" in interval.caveat


def test_a_rate_that_never_varies_has_an_interval_of_no_width() -> None:
    assert ratio_limits(np.full(30, 7.0), np.full(30, 7.0))[:2] == (1, 1)


def test_where_too_few_units_stand_out_the_percentiles_are_named() -> None:
    words = np.full(30, 10.0)
    low, high, method = ratio_limits(words - np.array([5.0, 4.0] + [0.0] * 28), words)
    assert method == "percentile bootstrap"
    assert low < 1 - 9 / 300 <= high <= 1


def test_units_without_words_do_not_break_the_interval() -> None:
    errors, words = corpus(30, 7)
    low, high, _ = ratio_limits(np.append(errors, [0.0, 4.0]), np.append(words, [0.0, 0.0]))
    assert 0 < low < high < 1


def test_many_units_are_drawn_in_portions() -> None:
    """All draws at once would take 80 MB for the indices alone, and as much twice more."""
    rng = np.random.default_rng(0)
    errors, words = rng.poisson(1.0, 5000).astype(np.float64), np.full(5000, 10.0)
    tracemalloc.start()
    low, high, _ = ratio_limits(errors, words, resamples=2000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert low < 0.1 < high
    assert peak < 80e6


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_statistics", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_interval_of_thirty_speakers_covers_the_truth() -> None:
    """The exact share follows from the seed; 300 corpora measure it within about 2.5 points."""
    check = tool()
    rng = np.random.default_rng(1)
    population, alone = check.POPULATIONS[0], check.EQUAL[0]
    held = 0
    for seed in range(300):
        errors, _, words, speaker = check.draw(population, 30, alone, rng)
        blocks = [str(one) for one in speaker]
        interval = block_interval(errors.tolist(), words.tolist(), blocks, resamples=1000, seed=seed)
        held += interval.low <= population.rate <= interval.high
    assert 0.92 <= held / 300 <= 0.98


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_coverage_is_between_92_and_98_percent_from_thirty_speakers_on() -> None:
    command = [sys.executable, str(TOOL), "coverage", "--json", "--corpora", "500", "--speakers", "30", "50", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [row for row in json.loads(done.stdout)["rows"] if not row["population"].startswith("extreme")]
    shares = [figure["share"] for row in rows for figure in row["figures"]]
    assert len(shares) == 15
    assert min(shares) >= 0.92
    assert max(shares) <= 0.98


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_false_alarms_of_equal_runs_are_about_five_percent() -> None:
    command = [sys.executable, str(TOOL), "false-alarm", "--json", "--corpora", "200", "--speakers", "30"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [row for row in json.loads(done.stdout)["rows"] if row["case"].startswith("told apart")]
    assert len(rows) == 15
    assert float(np.mean([row["figures"][0]["share"] for row in rows])) <= 0.065
