"""Shares of labels that have changed are told from the answers, and probabilities follow them."""

import numpy as np
import pytest

from sartor.feedback.prior import errors_of, explain, fit, reweigh

LABELS = 6


def world(random, shares, size):
    """True labels, two numbers of each row, and calibrated probabilities of a noisy model (equal shares)."""
    true = random.choice(LABELS, size=size, p=shares)
    spot = random.normal(np.eye(LABELS)[true] * 2.0, 1.0)
    odds = np.exp(2.0 * spot)
    return true, spot, odds / odds.sum(axis=1, keepdims=True)


def test_new_shares_are_found_and_reweighing_mends_the_answers():
    random, before = np.random.default_rng(0), np.full(LABELS, 1 / LABELS)
    now = np.array([0.6, 0.2, 0.1, 0.05, 0.03, 0.02])
    true, spot, chances = world(random, before, 3000)
    errors = errors_of(true, chances.argmax(axis=1), LABELS)
    assert errors.sum(axis=1) == pytest.approx(np.ones(LABELS))
    late, late_spot, late_chances = world(random, now, 3000)
    found = fit(errors, np.bincount(late_chances.argmax(axis=1), minlength=LABELS).astype(float), before)
    assert found == pytest.approx(now, abs=0.03)
    mended = reweigh(late_chances, before, found)
    assert mended.sum(axis=1) == pytest.approx(np.ones(3000))
    right = [(p.argmax(axis=1) == late).mean() for p in (late_chances, mended)]
    assert right[1] > right[0] + 0.03
    names = tuple(f"view {i}" for i in range(LABELS))
    assert explain(spot, true, late_spot, names, found / before).whole
    odd = explain(spot, true, late_spot + np.array([0, 0, 1.0, 0, 0, 0]), names, found / before)
    assert (odd.whole, odd.worst) == (False, "view 2")


def test_the_same_shares_stay_and_few_answers_move_little():
    random, before = np.random.default_rng(1), np.full(LABELS, 1 / LABELS)
    true, _, chances = world(random, before, 2000)
    errors = errors_of(true, chances.argmax(axis=1), LABELS)
    same = fit(errors, np.bincount(chances.argmax(axis=1), minlength=LABELS).astype(float), before)
    assert same == pytest.approx(np.bincount(true) / 2000, abs=0.03)
    assert fit(errors, np.eye(LABELS)[0] * 2.0, before) == pytest.approx(before, abs=0.08)
    assert fit(errors, np.zeros(LABELS), before) == pytest.approx(before)
