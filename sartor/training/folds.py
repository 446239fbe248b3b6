"""Divide training rows into seeded, stratified folds for cross-validation, never splitting a group. Knows no models."""

from collections.abc import Sequence

import numpy as np

from sartor.training.job import Ints


def sample(targets: Ints, most: int, seed: int) -> Ints:
    """At most `most` row numbers in order, each class kept in proportion but never below its first two rows."""
    if len(targets) <= most:
        return np.arange(len(targets))
    order = np.random.default_rng(seed).permutation(len(targets))
    rank = np.empty(len(targets), dtype=np.float64)
    for label in np.unique(targets):
        rows = order[targets[order] == label]
        # Shares of the class used up by each row: cutting at one share cuts all classes alike.
        rank[rows] = np.where(np.arange(len(rows)) < 2, -1.0, np.arange(len(rows)) / len(rows))
    kept: Ints = np.sort(np.lexsort((order.argsort(), rank))[:most])
    return kept


def folds(targets: Ints, groups: Sequence[str] | None, count: int, seed: int) -> list[tuple[Ints, Ints]]:
    """(training rows, held-out rows) pairs; stratified by class, and by group where groups are given.

    Classes with a single row are kept out of every held-out part: nothing could be learnt of them there.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    counts = np.bincount(targets)
    many = np.flatnonzero(counts[targets] >= 2)
    single = np.flatnonzero(counts[targets] < 2)
    if len(many) < count:
        return []
    labels = targets[many]
    if groups is None:
        pairs = _quiet(StratifiedKFold(count, shuffle=True, random_state=seed), many, labels, None)
    else:
        names = np.unique(np.asarray(groups)[many], return_inverse=True)[1]
        if len(np.unique(names)) < count:
            return []
        pairs = _quiet(StratifiedGroupKFold(count, shuffle=True, random_state=seed), many, labels, names)
    return [(np.concatenate([many[train], single]), many[held]) for train, held in pairs]


def _quiet(splitter: object, rows: Ints, labels: Ints, groups: Ints | None) -> list[tuple[Ints, Ints]]:
    """The splits, without sklearn's warning that a class has fewer rows than there are folds: it may."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return list(splitter.split(rows, labels, groups))  # type: ignore[attr-defined]
