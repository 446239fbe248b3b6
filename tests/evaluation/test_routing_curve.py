import numpy as np
import pytest

from sartor.evaluation import routing as r

CHEAP = np.array([1.0, 1.0, 0.0, 0.0])
DEAR = np.array([1.0, 0.0, 1.0, 1.0])
SCORE = np.array([0.9, 0.8, 0.3, 0.3])


def world(rows, seed, *, strength=2.0):
    """Questions whose hardness the score tells in part."""
    random = np.random.default_rng(seed)
    hard = random.normal(size=rows)
    score = -hard + random.normal(size=rows)
    cheap = (random.normal(size=rows) > strength * hard - 0.8).astype(float)
    dear = (random.normal(size=rows) > strength * hard - 2.0).astype(float)
    return score, cheap, dear


def test_the_curve_by_hand():
    found = r.curve(SCORE, CHEAP, DEAR)
    # Equal scores move together.
    assert found.saved.tolist() == [0.0, 0.25, 0.5, 1.0]
    assert found.quality.tolist() == [0.75, 0.75, 1.0, 0.5]
    assert found.threshold.tolist() == [np.inf, 0.9, 0.8, 0.3]
    assert r.saved_at(found, 0.75) == 0.5
    assert r.saved_at(found, 0.5) == 1.0
    assert r.saved_at(found, 1.1) == 0.0


def test_the_two_readings_of_a_share():
    assert r.wanted(CHEAP, DEAR, 0.9) == pytest.approx(0.675)
    assert r.wanted(CHEAP, DEAR, 0.9, "gap") == pytest.approx(0.725)


def test_points_lie_on_the_curve():
    score, cheap, dear = world(500, 0)
    found = r.curve(score, cheap, dear)
    for at in (1, 100, 499):
        point = r.point(score, cheap, dear, found.threshold[at])
        assert (point.saved, point.quality) == pytest.approx((found.saved[at], found.quality[at]))
    alone = r.point(score, cheap, dear, np.inf)
    assert (alone.saved, alone.of_dear, alone.gap) == pytest.approx((0.0, 1.0, 1.0))
    assert r.point(score, cheap, dear, -np.inf).gap == pytest.approx(0.0)


def test_a_score_lies_between_a_coin_and_the_oracle():
    score, cheap, dear = world(4000, 1)
    goal = r.wanted(cheap, dear, 0.95)
    coin = r.random_saved(cheap, dear, goal)
    mine = r.saved_at(r.curve(score, cheap, dear), goal)
    oracle = r.saved_at(r.curve(r.oracle_score(cheap, dear), cheap, dear), goal)
    assert coin + 0.05 < mine < oracle
    tossed = np.random.default_rng(2).random(4000)
    assert r.saved_at(r.curve(tossed, cheap, dear), goal) == pytest.approx(coin, abs=0.05)
    assert r.area(r.curve(tossed, cheap, dear)) == pytest.approx(0.0, abs=0.01)
    assert r.area(r.curve(r.oracle_score(cheap, dear), cheap, dear)) > r.area(r.curve(score, cheap, dear)) > 0.01


def test_a_line_from_validation_rows_holds_on_others_as_often_as_asked():
    kept = {}
    for sure in (0.5, 0.9):
        held = []
        for seed in range(60):
            score, cheap, dear = world(1200, seed)
            line = r.threshold_for(score[:600], cheap[:600], dear[:600], 0.95, sure=sure, draws=200)
            held.append(r.point(score[600:], cheap[600:], dear[600:], line).of_dear >= 0.95)
        kept[sure] = np.mean(held)
    assert kept[0.5] < kept[0.9]
    assert kept[0.9] > 0.7


def test_nothing_is_sent_to_a_cheap_model_that_never_helps():
    score = np.linspace(0.0, 1.0, 50)
    assert r.threshold_for(score, np.zeros(50), np.ones(50), 1.0) == np.inf


def test_intervals_hold_the_point():
    score, cheap, dear = world(400, 3)
    point, interval = r.point(score, cheap, dear, 0.3), r.spread(score, cheap, dear, 0.3, draws=200)
    for name, (low, high) in interval.items():
        assert low < getattr(point, name) < high
