import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sartor.core.errors import AskError
from sartor.evaluation import guarantee as g


def model(rows, seed, *, power=2.0):
    """A calibrated model: it is right with the chance that it states."""
    random = np.random.default_rng(seed)
    confidence = 1.0 - random.random(rows) ** power * 0.6
    return confidence, (random.random(rows) > confidence).astype(float)


def risk_above(threshold, power=2.0):
    """What that model's error among kept answers truly is: the mean doubt below the one that the threshold allows."""
    doubt = 1.0 - threshold
    if doubt >= 0.6:
        return 0.6 / (power + 1.0)
    return doubt / (power + 1.0)


def test_chances_are_the_exact_binomial_test():
    wrong, kept = np.array([0, 3, 20, 5]), np.array([100, 100, 100, 5])
    expected = [
        stats.binomtest(int(w), int(n), 0.05, alternative="less").pvalue for w, n in zip(wrong, kept, strict=True)
    ]
    assert g.binomial_chances(wrong, kept, 0.05) == pytest.approx(expected)
    assert g.binomial_chances(np.array([0]), np.array([0]), 0.05).tolist() == [1.0]


def test_levels_are_carried_on_while_hypotheses_fall_and_begin_anew_after_one_stands():
    chances = np.array([0.5, 0.015, 0.001, 0.9, 0.02, 0.03])
    budget = np.array([0.01, 0.02, 0.0, 0.0, 0.02, 0.0])
    levels = g.spent(chances, budget)
    # By hand: 0.01 stands; 0.02 falls and is carried; it stands at the fourth; the fifth has its own 0.02 only.
    assert np.maximum(levels, 0).tolist() == [0.01, 0.02, 0.02, 0.02, 0.02, 0.02]
    assert (chances <= levels).tolist() == [False, True, True, False, True, False]


def test_a_chance_of_zero_never_falls_where_nothing_waits():
    assert (np.array([0.0, 0.0]) <= g.spent(np.array([0.0, 0.0]), np.array([0.0, 0.05]))).tolist() == [False, True]


@pytest.mark.parametrize("alpha", [0.01, 0.02, 0.05])
def test_lists_fall_and_spend_all(alpha):
    for steps in (g.ladder(alpha), g.ladder_of(np.random.default_rng(0).random(500))):
        assert (np.diff(steps.thresholds) <= 0).all()
        assert steps.budget.sum() == pytest.approx(1.0)
        assert (steps.budget > 0).sum() == 3
    assert g.ladder(alpha).thresholds[-1] == 0.0


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_promises_are_kept_as_often_as_promised(alpha):
    draws, broken, kept = 120, 0, []
    for seed in range(draws):
        found = g.certify(*model(1000, seed), alpha=alpha, delta=0.1)
        if found.threshold is not None:
            broken += risk_above(found.threshold) > alpha
            kept.append(found.kept)
    # One-sided binomial test of "at most 10 %" at one in ten thousand.
    assert broken <= stats.binom.ppf(1 - 1e-4, draws, 0.1)
    assert len(kept) > draws / 2


def test_a_model_that_always_errs_more_is_refused_as_often_as_promised():
    random = np.random.default_rng(5)
    passed = 0
    for _ in range(150):
        confidence, wrong = random.random(400), (random.random(400) < 0.055).astype(float)
        passed += g.certify(confidence, wrong, alpha=0.05, delta=0.1).threshold is not None
    assert passed <= stats.binom.ppf(1 - 1e-4, 150, 0.1)


def test_a_certificate_says_what_it_promises():
    confidence, wrong = model(3000, 1)
    found = g.certify(confidence, wrong, alpha=0.05, steps=g.ladder(0.05, start={1.0: 1.0}))
    keep = confidence >= found.threshold
    assert found.kept == pytest.approx(keep.mean())
    assert found.observed == pytest.approx(wrong[keep].mean())
    assert found.observed < found.upper <= 0.05
    assert found.upper == pytest.approx(
        stats.binomtest(int(wrong[keep].sum()), int(keep.sum()), 0.05, alternative="less").proportion_ci(0.95).high
    )
    assert (found.rows_needed, found.rows) == (0, 3000)
    assert "5.0%" in found.says
    assert f"{found.threshold:.4f}" in found.says
    assert found.body()["method"] == "learn then test, fallback, exact binomial"


def test_more_rows_keep_more():
    few, many = (g.certify(*model(rows, 3), alpha=0.05).kept for rows in (400, 8000))
    assert many > few > 0


def test_a_refusal_says_how_many_rows_would_do_and_they_do():
    refused = [found for seed in range(20) if (found := g.certify(*model(150, seed), alpha=0.02)).threshold is None]
    needed = [found.rows_needed for found in refused if found.rows_needed is not None]
    assert len(needed) > 10
    assert f"{refused[0].rows_needed:,} more labelled rows" in refused[0].says
    more = 150 + int(np.median(needed))
    passed = [g.certify(*model(more, seed), alpha=0.02).threshold is not None for seed in range(100, 130)]
    assert np.mean(passed) > 0.5
    # And it does not ask for ten times what is needed.
    assert sum(g.certify(*model(more // 10, seed), alpha=0.02).threshold is not None for seed in range(100, 130)) < 15


def test_a_hopeless_model_is_told_that_rows_do_not_help():
    random = np.random.default_rng(0)
    found = g.certify(random.random(2000), (random.random(2000) < 0.3).astype(float), alpha=0.05)
    assert (found.threshold, found.rows_needed) == (None, None)
    assert "would not help" in found.says


def test_the_loss_against_a_giant_that_errs_lets_more_stay_local():
    confidence, wrong = model(4000, 7)
    giant = (np.random.default_rng(8).random(4000) < 0.15).astype(float)
    alone, against = (g.certify(confidence, wrong, alpha=0.03, giant_wrong=said) for said in (None, giant))
    assert against.risk == "loss"
    assert against.kept > alone.kept
    keep = confidence >= against.threshold
    assert against.observed == pytest.approx(np.where(keep, wrong - giant, 0.0).mean())
    assert against.observed < against.upper <= 0.03


def test_the_loss_against_the_giant_is_kept_as_often_as_promised():
    """A local model that loses just alpha at every threshold: any certificate would be a broken promise."""
    random = np.random.default_rng(11)
    passed = 0
    for _ in range(150):
        wrong, giant = (random.random((2, 300)) < np.array([[0.15], [0.1]])).astype(float)
        steps = g.Ladder(np.array([0.0]), np.array([1.0]))
        passed += g.certify(np.ones(300), wrong, alpha=0.05, delta=0.1, giant_wrong=giant, steps=steps).threshold == 0.0
    assert passed <= stats.binom.ppf(1 - 1e-4, 150, 0.1)


def test_losses_that_are_no_counts_are_bet_on():
    confidence, wrong = model(3000, 9)
    found = g.certify(confidence, 0.5 * wrong, alpha=0.05)
    assert found.method.endswith("betting")
    assert found.kept > g.certify(confidence, wrong, alpha=0.05).kept
    assert found.observed < found.upper <= 0.05


@given(st.permutations(range(60)))
@settings(max_examples=20, deadline=None)
def test_counts_do_not_depend_on_the_order_of_rows(order):
    confidence, wrong = model(60, 2)
    order = np.array(order)
    assert g.certify(confidence[order], wrong[order], alpha=0.3) == g.certify(confidence, wrong, alpha=0.3)


def test_the_same_seed_gives_the_same_certificate_of_bets():
    confidence, wrong = model(500, 2)
    one, two = (g.certify(confidence, 0.7 * wrong, alpha=0.2, seed=3) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"alpha": 0.0}, "alpha is 0"),
        ({"delta": 1.0}, "delta is 1"),
        ({"wrong": np.array([0.0, 2.0])}, "losses from 0 to 1"),
        ({"wrong": np.array([0.0, np.nan])}, "losses from 0 to 1"),
        ({"wrong": np.array([0.0])}, "one length"),
        ({"giant_wrong": np.array([0.0, -1.0])}, "giant_wrong"),
        ({"confidence": np.array([0.5, np.nan])}, "confidence on every row"),
    ],
)
def test_bad_rows_are_named(changes, says):
    given_ = {"confidence": np.array([0.5, 0.9]), "wrong": np.array([0.0, 1.0]), "alpha": 0.1} | changes
    with pytest.raises(AskError, match=says):
        g.certify(given_.pop("confidence"), given_.pop("wrong"), **given_)


def test_no_rows_are_refused_not_certified():
    found = g.certify(np.empty(0), np.empty(0), alpha=0.1)
    assert found.threshold is None
    assert found.rows_needed > math.log(0.05) / math.log(0.9)
