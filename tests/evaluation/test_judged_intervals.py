"""Figures of a judge, and intervals that hold its error: against textbook values, and by how often they cover."""

import numpy as np
import pytest

from sartor.evaluation.judged_intervals import (
    Golden,
    measure,
    powered_share,
    prediction_powered,
    rogan_gladen,
    share_right,
)
from sartor.evaluation.statistics import wilson


def test_figures_of_a_judge() -> None:
    found = measure(Golden(40, 10, 5, 45))
    assert found.sensitivity is not None
    assert found.informedness is not None
    assert found.kappa is not None
    assert (found.sensitivity.value, found.specificity.value) == (0.8, 0.9)  # type: ignore[union-attr]
    assert found.informedness.value == pytest.approx(0.7)
    assert found.kappa.value == pytest.approx(0.7)
    assert found.informedness.low < 0.55 < 0.85 > found.informedness.high - 0.05
    assert found.kappa.low < 0.6 < 0.8 < found.kappa.high


def test_what_was_never_seen_is_not_known() -> None:
    found = measure(Golden(30, 2, 0, 0))
    assert found.specificity is None
    assert found.informedness is None
    always = measure(Golden(20, 0, 10, 0))
    assert always.informedness is not None
    assert always.informedness.value == 0.0
    assert always.kappa is not None
    assert always.kappa.value == 0.0


def test_rogan_and_gladen_turn_the_share_around() -> None:
    found = rogan_gladen(600, 1000, Golden(9000, 1000, 1000, 9000))
    assert found.value == pytest.approx((0.6 + 0.9 - 1) / 0.8)
    assert found.low < 0.625 < found.high
    assert found.high - found.low < 0.1
    # A judge worse than none says nothing.
    assert rogan_gladen(600, 1000, Golden(1, 9, 9, 1)).low == 0.0
    # Lang and Reiczigel's interval, worked by hand from their formulas: n'=103.8415, Se'=.8824, Sp'=.8824, P'=.6251.
    small = rogan_gladen(60, 100, Golden(90, 10, 10, 90))
    assert (small.low, small.high) == (pytest.approx(0.499, abs=0.01), pytest.approx(0.752, abs=0.01))


def test_counts_and_columns_give_the_same_interval() -> None:
    golden = Golden(60, 8, 4, 28)
    truth = np.repeat([1.0, 1.0, 0.0, 0.0], [60, 8, 4, 28])
    judged = np.repeat([1.0, 0.0, 1.0, 0.0], [60, 8, 4, 28])
    rest = np.repeat([1.0, 0.0], [900, 600])
    counts, columns = powered_share(900, 1500, golden), prediction_powered(truth, judged, rest, (0.0, 1.0))
    assert vars(counts) == pytest.approx(vars(columns))
    assert Golden.of(truth, judged) == golden
    # Twice the money, twice the interval.
    money = prediction_powered(2 * truth, 2 * judged, 2 * rest, (0.0, 2.0))
    assert (money.low, money.high) == (pytest.approx(2 * columns.low), pytest.approx(2 * columns.high))


@pytest.mark.parametrize(("right", "sensitivity", "specificity"), [(0.93, 0.95, 0.9), (0.8, 0.8, 0.8)])
def test_both_ways_cover_where_the_judge_alone_does_not(right: float, sensitivity: float, specificity: float) -> None:
    random, draws = np.random.default_rng(5), 600
    cells = [right * sensitivity, right * (1 - sensitivity), (1 - right) * (1 - specificity), (1 - right) * specificity]
    covered = dict.fromkeys(("alone", "rogan_gladen", "powered"), 0)
    for _ in range(draws):
        golden = Golden(*map(int, random.multinomial(60, cells)))
        judged = int(random.binomial(1500, cells[0] + cells[2]))
        low, high = wilson(judged, 1500, 0.95)
        covered["alone"] += low <= right <= high
        for name, found in (("rogan_gladen", rogan_gladen(judged, 1500, golden)),
                            ("powered", powered_share(judged, 1500, golden))):  # fmt: skip
            covered[name] += found.low <= right <= found.high
    assert covered["alone"] < 0.6 * draws
    assert min(covered["rogan_gladen"], covered["powered"]) >= 0.92 * draws


def test_the_way_that_holds_is_taken() -> None:
    golden = Golden(40, 4, 3, 13)
    drawn = share_right(900, 1200, golden, random_sample=True)
    chosen = share_right(900, 1200, golden, random_sample=False)
    assert drawn is not None
    assert chosen is not None
    assert (drawn.way, chosen.way) == ("prediction_powered", "rogan_gladen")
    assert drawn.right.high - drawn.right.low < chosen.right.high - chosen.right.low
    assert share_right(900, 1200, Golden(5, 1, 1, 2), random_sample=True) is None
    people = share_right(0, 0, golden, random_sample=True)
    assert people is not None
    assert people.way == "people"
