"""Folds and samples of training rows."""

import numpy as np

from sartor.training.folds import folds, sample


def test_sample_keeps_classes_in_proportion_and_rare_ones_alive():
    targets = np.repeat([0, 1, 2], [900, 100, 3])
    rows = sample(targets, 100, seed=0)
    counts = np.bincount(targets[rows])
    assert len(rows) == len(set(rows)) == 100
    assert counts[2] >= 2
    assert 85 <= counts[0] <= 90
    assert (np.diff(rows) > 0).all()


def test_sample_of_few_rows_is_all_of_them():
    assert list(sample(np.array([0, 1, 0]), 10, seed=0)) == [0, 1, 2]


def test_folds_hold_each_row_out_once_and_single_rows_never():
    targets = np.array([0] * 10 + [1] * 10 + [2])
    pairs = folds(targets, None, 3, seed=0)
    held = np.concatenate([h for _, h in pairs])
    assert sorted(held) == list(range(20))
    assert all(20 in train for train, _ in pairs)
    assert all(not set(train) & set(out) for train, out in pairs)


def test_a_group_stands_on_one_side():
    targets = np.array([0, 1] * 12)
    groups = [f"g{i // 4}" for i in range(24)]
    for train, out in folds(targets, groups, 3, seed=0):
        assert not {groups[i] for i in train} & {groups[i] for i in out}


def test_too_few_rows_make_no_folds():
    assert folds(np.array([0, 1]), None, 3, seed=0) == []
