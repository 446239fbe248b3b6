import math

import numpy as np
import pytest
from scipy import stats

from sartor.evaluation import sequential as s

STREAMS, ROWS = 400, 1500


def most_false(level):
    """Errors among the streams that one test in ten thousand would exceed, were the level just kept."""
    return stats.binom.ppf(1 - 1e-4, STREAMS, level)


@pytest.mark.parametrize("mean", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_wealth_against_a_true_claim_hardly_ever_grows_at_any_time(mean, side):
    values = (np.random.default_rng(1).random((STREAMS, ROWS)) < mean).astype(float)
    most = mean if side > 0 else 1.0 - mean
    ever = s.log_wealth(side * (values - mean), most).max(axis=-1)
    assert (ever >= math.log(1 / 0.05)).sum() <= most_false(0.05)


def test_wealth_by_hand():
    gains = np.array([1.0, -0.5])
    mixed = [np.mean([(1 + k) for k in s.STAKES]), np.mean([(1 + k) * (1 - 0.5 * k) for k in s.STAKES])]
    assert s.log_wealth(gains, 1.0) == pytest.approx(np.log(mixed))
    assert s.best_wealth(gains, 1.0) == pytest.approx(math.log(mixed[0]))
    assert s.best_wealth(-np.ones(3), 1.0) == 0.0
    assert s.best_wealth(np.empty(0), 1.0) == 0.0


def test_fewer_looks_see_the_same_wealth_less_often():
    gains = np.random.default_rng(0).normal(0.1, 1, 100).clip(-1, 1)
    every = s.log_wealth(gains, 1.0, every=7)
    assert every[-1] == pytest.approx(s.log_wealth(gains, 1.0)[-1])
    assert every[:-1] == pytest.approx(s.log_wealth(gains, 1.0)[6::7])


def test_bounds_hold_the_mean_at_all_times_and_close_in():
    random = np.random.default_rng(2)
    missed, widths = 0, []
    for _ in range(100):
        values = random.beta(1, 4, 800)
        bounds = [
            (s.lower_bound(values[:n], 0.0, (0.0, 1.0), 0.05), s.upper_bound(values[:n], 1.0, (0.0, 1.0), 0.05))
            for n in (10, 100, 800)
        ]
        missed += any(not low <= 0.2 <= high for low, high in bounds)
        widths.append([high - low for low, high in bounds])
    assert missed <= stats.binom.ppf(1 - 1e-4, 100, 0.1)
    wide = np.mean(widths, axis=0)
    assert wide[0] > wide[1] > wide[2]
    # Not more than twice the interval that may be looked at only once.
    assert wide[2] < 2 * 2 * stats.norm.ppf(0.95) * stats.beta(1, 4).std() / math.sqrt(800)


def test_no_rows_bound_nothing():
    nothing = np.empty(0)
    assert s.lower_bound(nothing, 0.0, (0.0, 1.0), 0.05) == 0.0
    assert s.upper_bound(nothing, 1.0, (0.0, 1.0), 0.05) == 1.0


def test_a_chance_is_small_where_values_lie_below():
    random = np.random.default_rng(3)
    low, high = random.random(300) * 0.5, random.random(300)
    assert s.chance_above(low, 0.5, 1.0) < 1e-6
    assert s.chance_above(high, 0.4, 1.0) == pytest.approx(1.0, abs=0.5)


def arms(seed, share, rates, rows=ROWS, streams=STREAMS):
    random = np.random.default_rng(seed)
    treated = random.random((streams, rows)) < share
    values = (random.random((streams, rows)) < np.where(treated, rates[1], rates[0])).astype(float)
    chance = np.full(treated.shape, share)
    return treated, chance, values


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_two_arms_become_one_stream_whose_mean_is_their_difference(share):
    treated, chance, values = arms(4, share, (0.1, 0.25))
    found = s.contrast(treated, chance, values, np.ones(values.shape), (0.0, 1.0))
    spread = found.values.mean(axis=1).std() / math.sqrt(STREAMS)
    assert found.values.mean() == pytest.approx(0.15, abs=4 * spread)
    assert (found.values >= found.low - 1e-9).all()
    assert (found.values <= found.high + 1e-9).all()


def test_weights_undo_a_known_chance_of_being_seen():
    treated, chance, values = arms(5, 0.5, (0.2, 0.2))
    random = np.random.default_rng(6)
    # Wrong answers are seen more often, but how often is known.
    rate = np.where(values > 0, 0.9, 0.3)
    weight = (random.random(values.shape) < rate) / rate
    found = s.contrast(treated, chance, weight * values, weight, (0.0, 1.0), 1.0 / 0.3)
    spread = found.values.mean(axis=1).std() / math.sqrt(STREAMS)
    assert found.values.mean() == pytest.approx(0.0, abs=4 * spread)
    assert (found.values >= found.low - 1e-9).all()
    assert (found.values <= found.high + 1e-9).all()


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_equal_arms_hardly_ever_differ_at_any_time(share):
    treated, chance, values = arms(7, share, (0.1, 0.1))
    found = s.contrast(treated, chance, values, np.ones(values.shape), (0.0, 1.0))
    for gains, most in ((found.values, -found.low), (-found.values, found.high)):
        ever = s.log_wealth(gains, most, every=5).max(axis=-1)
        assert (ever >= math.log(1 / 0.05)).sum() <= most_false(0.05)


def test_chances_that_change_over_time_are_no_matter():
    random = np.random.default_rng(8)
    chance = np.tile(np.linspace(0.05, 0.5, ROWS), (STREAMS, 1))
    treated = random.random(chance.shape) < chance
    # The day gets harder while the share grows: a comparison without weights would blame the treated arm.
    hard = np.linspace(0.05, 0.4, ROWS)
    values = (random.random(chance.shape) < hard).astype(float)
    assert values[treated].mean() - values[~treated].mean() > 0.05
    found = s.contrast(treated, chance, values, np.ones(values.shape), (0.0, 1.0))
    spread = found.values.mean(axis=1).std() / math.sqrt(STREAMS)
    assert found.values.mean() == pytest.approx(0.0, abs=4 * spread)


def test_bounds_of_a_difference_stay_within_what_it_can_be():
    treated, chance, values = arms(9, 0.5, (0.1, 0.4), rows=400, streams=1)
    found = s.contrast(treated, chance, values, np.ones(values.shape), (0.0, 1.0))
    one = s.Contrast(found.values[0], found.low[0], found.high[0])
    low, high = one.bounds(0.025, 0.025, 1.0)
    assert 0.0 < low < 0.3 < high < 1.0
    assert one.since(400).bounds(0.025, 0.025, 1.0) == (-1.0, 1.0)
