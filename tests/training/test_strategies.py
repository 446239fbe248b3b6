"""Strategies: pure choices of rows, weights, start and mixing, the same for the same past."""

import numpy as np
import pytest

from sartor.core.shelf import Shelf
from sartor.training.strategy import Past, Plan, Skipped, sample_old

SHELF = Shelf("sartor.training.strategies")
NAMES = SHELF.own()


def past(**changes) -> Past:
    draw = np.random.default_rng(0)
    facts = {"targets": draw.integers(0, 4, 400), "new": np.arange(400) >= 300, "network": True, "seed": 3}
    return Past(**facts | changes)


def planned(name, given, **settings):
    strategy = SHELF.take(name)
    return strategy(given, strategy.read(settings))


def test_all_five_are_there():
    assert NAMES == ["head", "interpolate", "replay", "scratch", "warm"]


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_fits_its_rows_and_is_the_same_again(name):
    plan, again = planned(name, past()), planned(name, past())
    assert isinstance(plan, Plan)
    assert plan.says.endswith(".")
    assert plan.says == again.says
    if plan.rows is not None:
        assert np.array_equal(plan.rows, again.rows)
        assert len(set(plan.rows.tolist())) == len(plan.rows)
        assert (np.diff(plan.rows) > 0).all()
        assert set(np.flatnonzero(past().new)) <= set(plan.rows.tolist()), "no new row is left out"
    if plan.weights is not None:
        assert len(plan.weights) == (400 if plan.rows is None else len(plan.rows))
        assert plan.weights.mean() == pytest.approx(1.0)
    assert 0.0 <= plan.mix < 1.0


@pytest.mark.parametrize("name", NAMES)
def test_what_can_not_be_gone_on_from_is_skipped_with_the_reason(name):
    plan = planned(name, past(why_not="its words are bound to it"))
    if name == "scratch":
        assert isinstance(plan, Plan)
        assert not plan.descends
    else:
        assert plan == Skipped("its words are bound to it")


@pytest.mark.parametrize(
    ("name", "settings", "changes"),
    [
        ("warm", {}, {"network": False}),
        ("head", {}, {"network": False}),
        ("replay", {"share": 1.0}, {"network": False}),
        ("replay", {}, {"new": np.zeros(400, dtype=bool)}),
        ("warm", {"old": 0.0}, {"new": np.zeros(400, dtype=bool)}),
    ],
)
def test_what_would_be_the_same_or_nothing_is_skipped(name, settings, changes):
    assert isinstance(planned(name, past(**changes), **settings), Skipped)


def test_naive_fine_tuning_has_new_rows_alone():
    plan = planned("warm", past(), old=0.0)
    assert np.array_equal(plan.rows, np.arange(300, 400))
    assert plan.start


def test_what_is_remembered_weighs_as_much_as_all_did():
    given = past()
    plan = planned("replay", given, share=0.2, least=5)
    old = ~given.new[plan.rows]
    for label in range(4):
        before = (given.targets[:300] == label).sum() / 400
        of_label = old & (given.targets[plan.rows] == label)
        assert plan.weights[of_label].sum() / plan.weights.sum() == pytest.approx(before)


def test_a_memory_keeps_a_few_of_every_label():
    targets = np.array([0] * 290 + [1] * 10 + [0] * 100)
    kept = sample_old(past(targets=targets), 0.1, 5)
    assert np.bincount(targets[kept]).tolist() == [29, 5]
    assert len(sample_old(past(new=np.ones(400, dtype=bool)), 0.5, 5)) == 0
