"""The arithmetic in money."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import NotFoundError
from sartor.core.rows import Hierarchy
from sartor.core.value import (
    Confusion,
    Escalation,
    Value,
    choose,
    compute_return,
    cost_matrix,
    example_weights,
    measured_confusion,
    realised_costs,
    target_costs,
)

LABELS = ("a1", "a2", "b1")
TREE = Hierarchy(("group",), {"a1": ("a",), "a2": ("a",), "b1": ("b",)})


def test_hierarchy_makes_near_mistakes_cheaper_and_single_costs_win():
    value = Value(wrong=10, levels={"group": 2}, confusions=(Confusion(true="a1", answer="b1", cost=50),))
    matrix = cost_matrix(value, LABELS, TREE)
    assert matrix.tolist() == [[0, 2, 50], [2, 0, 10], [10, 10, 0]]


def test_star_stands_for_every_other_label_and_named_pairs_win():
    dear = Confusion(true="a1", answer="*", cost=9)
    matrix = cost_matrix(Value(confusions=(Confusion(true="a1", answer="a2", cost=3), dear)), LABELS)
    assert matrix.tolist() == [[0, 3, 9], [1, 0, 1], [1, 1, 0]]


def test_nearest_level_wins_over_farther_ones():
    tree = Hierarchy(("block", "chapter"), {"x": ("b1", "c1"), "y": ("b1", "c1"), "z": ("b2", "c1")})
    matrix = cost_matrix(Value(wrong=9, levels={"block": 1, "chapter": 4}), ("x", "y", "z"), tree)
    assert matrix.tolist() == [[0, 1, 4], [1, 0, 4], [4, 4, 0]]


def test_unknown_names_list_the_known_ones():
    with pytest.raises(NotFoundError, match="Did you mean 'a1'"):
        cost_matrix(Value(confusions=(Confusion(true="a11", answer="b1", cost=1),)), LABELS)
    with pytest.raises(NotFoundError, match="Known: group"):
        cost_matrix(Value(levels={"grupp": 1}), LABELS, TREE)


def test_least_cost_answer_is_not_the_most_likely_one():
    matrix = cost_matrix(Value(confusions=(Confusion(true="b1", answer="a1", cost=100),)), LABELS)
    probabilities = np.array([[0.6, 0.05, 0.35]])
    assert choose(probabilities, matrix).answer.tolist() == [2]


def test_escalation_counts_the_errors_of_whoever_is_asked():
    matrix = cost_matrix(Value(), LABELS)
    unsure = np.array([[0.6, 0.3, 0.1]])
    good = target_costs(Value(escalate=Escalation(price=0.1, error_rate=0.05)), matrix)
    bad = target_costs(Value(escalate=Escalation(price=0.1, error_rate=0.5)), matrix)
    assert choose(unsure, matrix, good).escalate.tolist() == [True]
    assert choose(unsure, matrix, bad).escalate.tolist() == [False]


def test_measured_errors_of_a_target_replace_declared_ones():
    true, answers = np.array([0, 0, 1, 2]), np.array([0, 1, 1, -1])
    confusion = measured_confusion(true, answers, 3)
    assert np.allclose(confusion.sum(axis=1), 1)
    assert confusion[1, 1] > confusion[0, 0] > confusion[2, 2]


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 30))
def test_chosen_decision_is_never_dearer_than_argmax_in_expectation(seed, size, rows):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(size), rows)
    matrix = random.exponential(1, (size, size))
    np.fill_diagonal(matrix, 0)
    target = random.exponential(0.5, size)
    choice = choose(probabilities, matrix, target)
    argmax = (probabilities @ matrix)[np.arange(rows), probabilities.argmax(axis=1)]
    assert (choice.cost <= argmax + 1e-12).all()
    assert (choice.cost <= probabilities @ target + 1e-12).all()


def test_realised_costs_of_right_wrong_invalid_and_escalated():
    matrix = cost_matrix(Value(right=-1, wrong=5), LABELS)
    target = np.array([0.5, 0.6, 0.7])
    costs = realised_costs(
        np.array([0, 1, 2, -1]), np.array([0, 0, -1, 1]), matrix, np.array([False, False, False, True]), target
    )
    assert costs.tolist() == [-1, 5, 5, 0.7]


def test_weights_have_mean_one_and_follow_the_money():
    matrix = cost_matrix(Value(confusions=(Confusion(true="b1", answer="a1", cost=9),)), LABELS)
    weights = example_weights(np.array([0, 1, 2, 2]), matrix)
    assert weights.mean() == pytest.approx(1)
    assert weights[2] > weights[0]


def test_return_pays_back_or_never():
    assert compute_return(Value(volume=3000), 0.5, 0.4, 100).payback_days == pytest.approx(10)
    assert compute_return(Value(volume=3000), 0.4, 0.5, 100).payback_days is None
