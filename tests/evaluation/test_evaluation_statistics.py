import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sartor.evaluation import statistics as s


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (1430, 1540), (1, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_scipys(k, n, confidence):
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert s.wilson(k, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_share_of_no_rows_has_no_interval():
    with pytest.raises(ValueError, match="no rows"):
        s.wilson(0, 0, 0.95)


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (5, 0), (12, 3), (40, 41), (300, 200)])
def test_mcnemar_is_the_exact_binomial_test(fixed, broken):
    expected = stats.binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    assert s.mcnemar(fixed, broken) == pytest.approx(expected, rel=1e-9)


def test_holm_steps_down():
    # By hand: sorted 0.01 0.02 0.03 0.04 times 4 3 2 1 is 0.04 0.06 0.06 0.04, made monotone.
    assert s.holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert s.holm([]).tolist() == []
    assert s.holm([0.9, 0.8]).tolist() == [1.0, 1.0]


def test_bca_agrees_with_scipy_on_skewed_values():
    values = np.random.default_rng(3).exponential(size=60)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    (found,) = s.bootstrap_means(values[:, None], confidence=0.95, draws=40_000)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.012)


def test_paired_bootstrap_keeps_its_promise_on_dear_rare_mistakes():
    """Nine rows of ten lose nothing, the tenth loses 1 on average: the interval holds the truth 95 times in 100."""
    random = np.random.default_rng(5)
    held = 0
    for trial in range(400):
        values = (random.random(200) < 0.1) * random.exponential(size=200)
        (found,) = s.bootstrap_means(values[:, None], confidence=0.95, draws=500, seed=trial)
        held += found.low <= 0.1 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_rows_of_one_group_are_resampled_together():
    """30 groups of 10 rows that share most of their luck: only the clustered interval holds the truth often enough."""
    random = np.random.default_rng(6)
    groups = np.repeat(np.arange(30), 10)
    clustered = naive = 0
    for trial in range(300):
        values = (random.normal(size=30)[groups] + 0.3 * random.normal(size=300))[:, None]
        (wide,) = s.bootstrap_means(values, confidence=0.95, clusters=groups, draws=400, seed=trial)
        (tight,) = s.bootstrap_means(values, confidence=0.95, draws=400, seed=trial)
        clustered += wide.low <= 0 <= wide.high
        naive += tight.low <= 0 <= tight.high
    assert clustered / 300 >= 0.90
    assert naive / 300 <= 0.60


def test_columns_share_resamples_and_may_miss_rows():
    values = np.random.default_rng(0).normal(size=(100, 2))
    values[:, 1] = values[:, 0]
    values[50:, 1] = np.nan
    whole, half = s.bootstrap_means(values, confidence=0.95)
    assert (whole.n, half.n) == (100, 50)
    assert half.value == pytest.approx(values[:50, 0].mean())
    assert half.high - half.low > whole.high - whole.low
    twice = s.bootstrap_means(values, confidence=0.95)
    assert np.array_equal(whole.draws, twice[0].draws)


def test_a_column_without_a_counting_row_is_refused():
    with pytest.raises(ValueError, match="no row counts"):
        s.bootstrap_means(np.full((5, 1), np.nan), confidence=0.95)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(0, 5))
def test_an_interval_holds_its_figure(values, groups):
    column = np.array(values)[:, None]
    clusters = np.arange(len(values)) % groups if groups else None
    if clusters is not None:
        clusters = np.unique(clusters, return_inverse=True)[1]
    (found,) = s.bootstrap_means(column, confidence=0.9, clusters=clusters, draws=50)
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)
    slack = 1e-9 * max(1.0, np.abs(column).max())
    assert column.min() - slack <= found.low <= found.value <= found.high <= column.max() + slack


def test_any_figure_can_be_resampled():
    values = np.random.default_rng(1).normal(size=300)
    found = s.bootstrap(lambda rows: float(np.median(values[rows])), confidence=0.95, clusters=np.arange(300))
    assert found.low < np.median(values) < found.high
    expected = 1.96 * 1.2533 / np.sqrt(300)
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.35)


def test_a_figure_that_is_mostly_undefined_has_no_interval():
    assert s.bootstrap(lambda _: None, confidence=0.95, clusters=np.arange(9)) is None
    # Defined on all rows, but hardly ever on a resample, which nearly always misses one.
    rare = s.bootstrap(lambda rows: 1.0 if len(set(rows)) == 9 else None, confidence=0.95, clusters=np.arange(9))
    assert rare is None


def test_rows_needed_would_settle_it_four_times_in_five():
    random = np.random.default_rng(2)
    first = random.normal(0.1, 1.0, size=200)
    first += 0.1 - first.mean()
    more = s.rows_needed(first, confidence=0.95)
    assert more == pytest.approx((1.96 + 0.8416) ** 2 * first.var() / 0.1**2 - 200, abs=2)
    settled = 0
    for _ in range(400):
        again = random.normal(0.1, first.std(), size=200 + more)
        settled += again.mean() - 1.96 * s.standard_error(again) > 0
    assert 0.74 <= settled / 400 <= 0.86


def test_rows_needed_knows_when_none_help_or_none_are_needed():
    assert s.rows_needed(np.array([-1.0, -2.0, -1.5]), confidence=0.95) is None
    assert s.rows_needed(np.array([1.0, 1.1, 0.9]), confidence=0.95) == 0
    assert s.rows_needed(np.array([1.0]), confidence=0.95) is None
    assert s.rows_needed(np.array([-1.0, -2.0, -1.5]), confidence=0.95, bound=-5.0) == 0


def test_rows_needed_counts_groups_of_rows_that_move_together():
    random = np.random.default_rng(4)
    groups = np.repeat(np.arange(40), 10)
    values = random.normal(size=40)[groups] + 0.2 + 0.1 * random.normal(size=400)
    values += 0.2 - values.mean()
    alone = s.rows_needed(values, confidence=0.95)
    together = s.rows_needed(values, confidence=0.95, clusters=groups)
    assert together > 5 * (alone + 1)


def test_chance_below_agrees_with_the_interval():
    values = np.random.default_rng(8).normal(0.2, 1.0, size=(300, 1))
    (found,) = s.bootstrap_means(values, confidence=0.95)
    expected = stats.norm.cdf(-found.value / s.standard_error(values[:, 0]))
    assert found.chance_below(0.0) == pytest.approx(expected, abs=0.01)
    assert found.chance_below(-100.0) == pytest.approx(1 / 2001)


def test_a_slice_is_held_against_the_rest_as_fisher_does():
    table = [[7, 13], [30, 450]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    (found,) = s.slice_chance(np.array([7.0]), np.array([20]), 37, 500)
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_paired_share_is_rarely_called_worse_when_it_is_not():
    random = np.random.default_rng(9)
    flips = random.choice([-1, 0, 1], p=[0.12, 0.81, 0.07], size=(4000, 60))  # worse by 0.05 on average
    better, worse = (flips > 0).sum(axis=1), (flips < 0).sum(axis=1)
    n = np.full(4000, 60)
    assert (s.paired_shares_chance(better, worse, n, 0.05) < 0.025).mean() <= 0.03
    assert (s.paired_shares_chance(np.array([2.0]), np.array([40.0]), np.array([60]), 0.05) < 1e-6).all()
    assert (s.paired_shares_chance(np.array([0.0]), np.array([3.0]), np.array([3]), 0.05) > 0.01).all()
