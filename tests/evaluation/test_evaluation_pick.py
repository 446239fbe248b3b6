from dataclasses import replace

import numpy as np
import pytest

from sartor.core.errors import AskError
from sartor.evaluation.pick import Offer, pick


def test_the_one_that_loses_least_money_is_picked(world):
    made = world(2000)
    picked = pick([Offer("a", made.plain(0.7, 1)), Offer("b", made.plain(0.9, 2), overhead=0.01)], made.terms)
    assert picked.title == "b"
    assert "loses least money" in picked.says
    assert [s.title for s in picked.standings] == ["a", "b"]
    assert not picked.standings[0].as_good


def test_a_dearer_rung_within_the_noise_is_not_picked(world):
    made = world(1000)
    cheap = made.plain(0.9, 1)
    better = cheap.answer.copy()
    wrong = np.flatnonzero(cheap.answer != cheap.true)
    better[wrong[:2]] = cheap.true[wrong[:2]]  # two rows better, three worse
    better[np.flatnonzero(cheap.answer == cheap.true)[:1]] = (
        cheap.true[np.flatnonzero(cheap.answer == cheap.true)[:1]] + 1
    ) % 6
    dear = Offer("dear", replace(cheap, answer=better), made_for=5.0)
    picked = pick([dear, Offer("cheap", cheap, made_for=0.1)], made.terms)
    assert picked.standings[0].behind == 0.0
    assert picked.title == "cheap"
    assert "within one standard error of dear" in picked.says


def test_what_serving_costs_decides_between_equals(world):
    made = world(500)
    same = made.plain(0.9, 1)
    offers = [Offer("dear", same, overhead=0.002), Offer("cheap", same, overhead=0.001)]
    assert pick(offers, made.terms).title == "cheap"


def test_the_first_of_equals_in_everything_is_picked_always(world):
    made = world(100)
    same = made.plain(0.9, 1)
    assert pick([Offer("first", same), Offer("second", same)], made.terms).title == "first"


def test_nothing_to_pick_from_is_said(world):
    with pytest.raises(AskError, match="none to choose from"):
        pick([], world(10).terms)
