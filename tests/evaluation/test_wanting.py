"""More rows are wanted of the labels on which the two subjects differ most."""

import numpy as np

from sartor.evaluation.answers import Answers
from sartor.evaluation.terms import Terms
from sartor.evaluation.wanting import wanted

TERMS = Terms(("a", "b", "c"), 1.0 - np.eye(3))


def said(true, answer):
    ids = np.array([f"r{at}" for at in range(len(true))])
    return Answers(ids, true.astype(np.int32), answer.astype(np.int32), np.zeros(len(true), bool), np.zeros(len(true)))


def test_the_label_that_makes_it_unsure_gets_the_rows():
    true = np.array([0] * 100 + [1] * 100 + [2] * 100)
    right, mixed = true.copy(), true.copy()
    mixed[100:130] = 0  # of b, the one is right where the other is wrong, and the other way round
    other = true.copy()
    other[130:160] = 2
    (first, *rest) = wanted(said(true, mixed), said(true, other), TERMS, 60)
    assert (first.label, first.rows) == ("b", 60)
    assert rest == []
    assert wanted(said(true, right), said(true, right), TERMS, 60) == ()


def test_two_labels_share_them():
    true = np.array([0] * 100 + [1] * 100 + [2] * 100)
    one, other = true.copy(), true.copy()
    one[:20], other[20:40] = 1, 1
    one[100:115], other[115:130] = 2, 2
    found = wanted(said(true, one), said(true, other), TERMS, 70)
    assert [item.label for item in found][:1] == ["a"]
    assert 60 <= sum(item.rows for item in found) <= 80
