from dataclasses import replace

import numpy as np
import pytest

from sartor.evaluation import exposed as e


def outcomes(rows, seed=0, *, share=0.5, rate=1.0, **changes):
    random = np.random.default_rng(seed)
    canary = random.random(rows) < share
    made = e.Outcomes(
        arm=np.where(canary, "canary", "control"),
        propensity=np.where(canary, share, 1 - share),
        observed=random.random(rows) < rate,
        cost=(random.random(rows) < 0.2).astype(float),
        seconds=np.ones(rows),
        failed=np.zeros(rows, dtype=bool),
        stratum=np.full(rows, "all"),
        age=np.arange(rows, 0, -1.0),
    )
    return replace(made, **changes)


def test_only_rows_that_were_drawn_count_and_the_oldest_comes_first():
    given = outcomes(
        5,
        arm=np.array(["canary", "control", "shadow", "canary", "control"]),
        propensity=np.array([0.1, 0.9, 0.5, np.nan, 1.0]),
        age=np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
    )
    units = e.units_of(given, 0.0)
    assert units.rows.tolist() == [1, 0]
    assert units.canary.tolist() == [False, True]
    assert units.chance.tolist() == pytest.approx([0.1, 0.1])
    assert (units.older(2.0), units.older(0.0)) == (1, 2)
    assert units.count(2) == (1, 1)


def test_who_was_drawn_counts_once_within_the_span():
    given = outcomes(
        6,
        arm=np.array(["canary", "control", "canary", "canary", "control", "control"]),
        propensity=np.full(6, 0.5),
        unit=np.array(["a", "", "a", "a", "", "a"]),
        age=np.array([100.0, 99.0, 95.0, 10.0, 9.0, 98.0]),
    )
    units = e.units_of(given, 10.0)
    # Row 3 is too late, and row 5 stands on the other side: the share was changed under its user.
    assert units.rows.tolist() == [0, 1, 2, 4]
    assert units.unit.tolist() == [0, 1, 0, 2]
    assert units.first.tolist() == [0, 1, 3]
    assert e.units_of(given, 0.0).rows.tolist() == [0, 1, 4]


def test_a_user_is_the_mean_of_its_rows():
    given = outcomes(
        3,
        arm=np.array(["canary", "canary", "control"]),
        propensity=np.full(3, 0.5),
        unit=np.array(["a", "a", "b"]),
        age=np.array([9.0, 8.0, 7.0]),
        cost=np.array([1.0, 0.0, 0.25]),
        observed=np.ones(3, dtype=bool),
    )
    found = e.stream(e.units_of(given, 5.0), given.cost, given.observed, (0.0, 1.0), until=2)
    assert found.means == (0.25, 0.5)
    assert found.seen == (1, 1)


def test_rates_tell_nothing_but_what_came_before():
    given = outcomes(400, rate=0.4, stratum=np.where(np.arange(400) % 3 == 0, "a", "b"))
    units = e.units_of(given, 0.0)
    rate, rarest = e.rates(units, given.observed, 400)
    later = given.observed.copy()
    later[200:] = ~later[200:]
    again = e.rates(units, later, 400)
    assert again[0][:201].tolist() == rate[:201].tolist()
    assert again[0][250:].tolist() != rate[250:].tolist()
    assert (rarest <= rate + 1e-12).all()
    assert rate[-50:].mean() == pytest.approx(0.4, abs=0.1)


def test_rates_are_one_where_everything_is_seen():
    given = outcomes(100)
    rate, rarest = e.rates(e.units_of(given, 0.0), np.ones(100, dtype=bool), 100)
    assert (rate == 1.0).all()
    assert (rarest == 1.0).all()


def test_strata_that_are_seen_more_often_do_not_count_more():
    """Unsure answers are wrong more often and are looked at more often; both sides fare alike."""
    differences, unweighted = [], []
    for seed in range(30):
        random = np.random.default_rng(seed)
        unsure = random.random(4000) < 0.4
        canary = random.random(4000) < 0.5
        given = outcomes(
            4000,
            arm=np.where(canary, "canary", "control"),
            propensity=np.full(4000, 0.5),
            cost=(random.random(4000) < np.where(unsure, 0.5, 0.02)).astype(float),
            observed=random.random(4000) < np.where(unsure, 0.9, np.where(canary, 0.2, 0.4)),
            stratum=np.where(unsure, "unsure", "sure"),
        )
        found = e.stream(e.units_of(given, 0.0), given.cost, given.observed, (0.0, 1.0), until=4000)
        differences.append(found.contrast.values.mean())
        unweighted.append(np.subtract(*(given.cost[given.observed & side].mean() for side in (canary, ~canary))))
        assert found.means == pytest.approx((0.212, 0.212), abs=0.06)
    assert np.mean(unweighted) > 0.05
    assert np.mean(differences) == pytest.approx(0.0, abs=4 * np.std(differences) / np.sqrt(30))


def test_values_and_weights_are_cut_and_the_share_is_told():
    given = outcomes(1000, rate=0.02)
    cost = np.where(np.arange(1000) % 10 == 0, 50.0, 0.5)
    found = e.stream(e.units_of(given, 0.0), cost, given.observed, (0.0, 2.0), until=1000, most=5.0)
    assert found.clipped == pytest.approx((cost[given.observed] > 2.0).mean())
    assert found.rare > 0.5
    assert (found.contrast.values <= found.contrast.high + 1e-9).all()
    assert (found.contrast.values >= found.contrast.low - 1e-9).all()


def test_nothing_seen_is_no_stream():
    given = outcomes(0)
    found = e.stream(e.units_of(given, 0.0), given.cost, given.observed, (0.0, 1.0), until=0)
    assert len(found.contrast.values) == 0
    assert found.seen == (0, 0)
