"""The value of the next label, in money; and how far people agree."""

import numpy as np
import pytest

from sartor.evaluation.agreement import agreement
from sartor.evaluation.next_label import doubted, pick, regret, short_of, surroundings

EVEN = np.array([[0.0, 1.0], [1.0, 0.0]])


def clusters(sizes, spread=0.05, seed=0):
    """Unit vectors around as many directions as there are sizes."""
    rng = np.random.default_rng(seed)
    centres = np.eye(len(sizes), 8)
    rows = np.concatenate([centres[i] + spread * rng.normal(size=(n, 8)) for i, n in enumerate(sizes)])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_regret_is_what_knowing_would_save() -> None:
    shares = np.array([[1.0, 0.0], [0.5, 0.5], [0.8, 0.2]])
    assert regret(shares, EVEN) == pytest.approx([0.0, 0.5, 0.2])
    # A mistake that costs ten times as much makes the cheap answer the decision, and the doubt dearer.
    assert regret(shares, np.array([[0.0, 1.0], [10.0, 0.0]])) == pytest.approx([0.0, 0.5, 0.8])
    # Where a person costs 0.1 and never errs, not knowing costs no more than asking.
    assert regret(shares, EVEN, np.array([0.1, 0.1])) == pytest.approx([0.0, 0.1, 0.1])


def test_a_right_answer_that_earns_money_is_no_regret() -> None:
    assert regret(np.array([[1.0, 0.0]]), EVEN - np.eye(2)) == pytest.approx([0.0])


def test_cold_start_takes_one_of_each_cluster_the_biggest_first() -> None:
    around = surroundings(clusters((36, 30, 26)))
    found = pick(around, np.full(92, 0.5), np.zeros(92, dtype=bool), 3)
    assert sorted(np.searchsorted([36, 66], found.rows, side="right")) == [0, 1, 2]
    assert (np.diff(found.gain) <= 1e-12).all()
    assert (found.gain > 0).all()


def test_what_is_labelled_makes_its_surroundings_worth_less() -> None:
    around = surroundings(clusters((50, 50)), neighbours=20)
    labelled = np.zeros(100, dtype=bool)
    labelled[:10] = True
    (best,) = pick(around, np.full(100, 0.5), labelled, 1).rows
    assert best >= 50


def test_dear_doubt_comes_before_cheap_doubt() -> None:
    around = surroundings(clusters((50, 50)), neighbours=20)
    shares = np.full((100, 2), 0.5)
    cheap, dear = regret(shares[:50], EVEN), regret(shares[50:], 5.0 * EVEN)
    picked = pick(around, np.concatenate([cheap, dear]), np.zeros(100, dtype=bool), 4)
    assert (picked.rows >= 50).sum() >= 3
    assert picked.rows[0] >= 50


def test_only_what_is_allowed_is_picked_and_never_more_than_there_is() -> None:
    around = surroundings(clusters((5, 5)))
    allowed = np.arange(10) % 2 == 0
    found = pick(around, np.ones(10), np.zeros(10, dtype=bool), 50, allowed)
    assert sorted(found.rows) == [0, 2, 4, 6, 8]
    assert len(pick(around, np.ones(10), np.ones(10, dtype=bool), 3).rows) == 0


def test_one_row_alone_and_rows_that_are_all_the_same() -> None:
    one = surroundings(np.ones((1, 4), dtype=np.float32) / 2)
    assert list(pick(one, np.ones(1), np.zeros(1, dtype=bool), 5).rows) == [0]
    same = surroundings(np.tile(np.float32([0.6, 0.8]), (30, 1)))
    assert len(pick(same, np.ones(30), np.zeros(30, dtype=bool), 5).rows) == 5


def test_sparse_vectors_give_the_same_as_dense_ones() -> None:
    from scipy.sparse import csr_matrix

    dense = clusters((20, 20)).astype(np.float64)
    one, other = surroundings(dense), surroundings(csr_matrix(dense))
    assert np.allclose(one.similarity, other.similarity)


def test_an_answer_that_is_said_to_be_wrong_leaves_its_place_to_others() -> None:
    shares = np.array([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [1.0, 0.0, 0.0]])
    found = doubted(shares, np.array([0, 0, -1, 0]), np.array([1.0, 0.5, 1.0, 1.0]))
    assert found[0] == pytest.approx([0.0, 1.0, 0.0])
    assert found[1] == pytest.approx([0.45 / 0.55, 0.1 / 0.55, 0.0])
    assert found[2] == pytest.approx(shares[2])
    assert found[3] == pytest.approx([1 / 3] * 3)  # the model knew no other
    assert found.sum(axis=1) == pytest.approx(1.0)


def test_the_labels_that_half_of_the_loss_lies_with_are_named() -> None:
    taken, lost = np.array([0, 0, 1, 2]), np.array([0.3, 0.1, 0.5, 0.1])
    found = short_of(("a", "b", "c"), np.array([5, 2, 9]), taken, lost, 60)
    assert [(s.label, s.have, s.want) for s in found] == [("b", 2, 60)]
    both = short_of(("a", "b", "c"), np.array([5, 2, 9]), taken, np.array([0.3, 0.1, 0.4, 0.2]), 60)
    assert sum(s.want for s in both) >= 60
    assert short_of(("a",), np.array([1]), np.array([0]), np.zeros(1), 60) == ()
    assert short_of(("a",), np.array([1]), np.array([0]), np.ones(1), 0) == ()


def test_kappa_by_hand_and_its_interval() -> None:
    # Cohen's own kind of table: 20 both yes, 5 yes/no, 10 no/yes, 15 both no.
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    found = agreement([{"anna": a, "ben": b} for a, b in pairs])
    assert found.agreed == pytest.approx(0.7)
    assert found.cohen == pytest.approx(0.4)
    # alpha: 30 rows' disagreement against that of the pooled 55 yes and 45 no.
    assert found.kappa == pytest.approx(1 - (30 / 100) / (2 * 55 * 45 / (100 * 99)))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.kappa < found.high
    assert (found.rows, found.people) == (50, 2)


def test_alpha_takes_rows_as_they_fell_to_people() -> None:
    rows = [{"a": "x", "b": "x"}, {"b": "y", "c": "y"}, {"a": "x", "c": "x"}, {"a": "x"}]
    found = agreement(rows)
    assert (found.rows, found.people, found.kappa, found.cohen) == (3, 3, pytest.approx(1.0), None)


def test_agreement_that_can_not_be_told_is_none() -> None:
    assert agreement([]).kappa is None
    assert agreement([{"a": "x"}]).rows == 0
    same = agreement([{"a": "x", "b": "x"}] * 5)
    assert (same.agreed, same.kappa, same.low) == (1.0, None, None)
