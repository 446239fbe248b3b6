"""Which row to ask a person about next: by the money that its label is expected to save, for a whole sitting at once.

What is not known costs money: the decision taken under a row's probabilities is dearer than the one that its truth
would allow. A label of one row takes part of that away from rows like it, the more the nearer they are and the less
was said about them before:

    value(i) = sum over j near i of  k(i, j) / (n(j) + k(i, j)) * regret(j)

`regret(j)` is the expected value of perfect information about row j under the task's costs (Howard 1966), `k` a
similarity, and `n(j)` what is known around j: a prior count and the similarities of the rows labelled so far. That a
label counts for its neighbourhood, as counts of a kernel estimate, is due to probabilistic active learning (Kottke
et al. 2016 and 2021); here the whole regret is shared out instead of one step of it, since a single label seldom
changes a decision. Density weighs the gain as in Settles and Craven (2008). After each pick `n` grows around it, so
that a batch covers the pool (greedy, as for the submodular facility location of Wei, Iyer and Bilmes 2015). Where there
is no model, every row is equally unknown, and the same formula picks the centres of the pool's clusters.

Knows no texts, models or people. The same input gives the same order.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats
from sartor.core.value import Ints, choose

NEIGHBOURS = 40
"""Rows near a row that its label speaks of; farther ones add little and cost time."""
SCALE_AT = 10
"""The similarity falls to 1/e at the distance that the tenth neighbour has in the median: it fits itself to any kind of
vector."""
PRIOR = 1.0
"""What is known about a row around which nobody has labelled anything, in labels."""
CHUNK = 1000

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Rows, each with those near it."""

    near: Ints
    """(rows, k) positions, the row itself among them."""
    similarity: Floats
    """(rows, k) in 0..1; 1 for the row itself."""

    def __len__(self) -> int:
        return len(self.near)


def surroundings(vectors: Any, neighbours: int = NEIGHBOURS) -> Surroundings:
    """What lies near what.

    Args:
        vectors: (rows, d) of unit length, an array or a sparse matrix.
        neighbours: most rows near a row.
    """
    rows = vectors.shape[0]
    size = min(neighbours, rows)
    near, cosine = np.zeros((rows, size), dtype=np.int64), np.zeros((rows, size))
    for start in range(0, rows, CHUNK):
        found = vectors[start : start + CHUNK] @ vectors.T
        dense = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
        np.put_along_axis(dense, np.arange(start, start + len(dense))[:, None], 2.0, axis=1)  # itself comes first
        top = np.argpartition(-dense, size - 1, axis=1)[:, :size]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(dense, top, axis=1), axis=1, kind="stable"), 1)
        near[start : start + len(dense)] = top
        cosine[start : start + len(dense)] = np.take_along_axis(dense, top, axis=1)
    distance = 1.0 - np.minimum(cosine, 1.0)
    scale = float(np.median(distance[:, min(SCALE_AT, size - 1)])) if rows else 1.0
    return Surroundings(near, np.exp(-distance / max(scale, 1e-6)))


def regret(probabilities: Floats, matrix: Floats, target: Floats | None = None) -> Floats:
    """(rows,) money that is expected to be lost for not knowing the truth.

    Args:
        probabilities: (rows, labels) calibrated.
        matrix: (labels, labels) from `core.value.cost_matrix`.
        target: (labels,) from `core.value.target_costs`, or None where nobody can be asked.
    """
    least = matrix.min(axis=1) if target is None else np.minimum(matrix.min(axis=1), target)
    lost = choose(probabilities, matrix, target).cost - np.asarray(probabilities, dtype=np.float64) @ least
    positive: Floats = np.maximum(lost, 0.0)
    return positive


def doubted(probabilities: Floats, answer: Ints, doubt: Floats) -> Floats:
    """Probabilities after somebody has said that an answer was wrong.

    Args:
        answer: (rows,) class index of the answer that was given; -1 where nobody spoke of one.
        doubt: (rows,) in 0..1, how far whoever spoke is believed.

    Returns:
        (rows, labels) summing to 1.
    """
    changed = np.array(probabilities, dtype=np.float64)
    rows = np.flatnonzero(answer >= 0)
    changed[rows, answer[rows]] *= 1.0 - doubt[rows]
    total = changed.sum(axis=1, keepdims=True)
    even = np.full_like(changed, 1.0 / changed.shape[1])
    spread: Floats = np.where(total > 1e-12, changed / np.maximum(total, 1e-12), even)
    return spread


@dataclass(frozen=True, eq=False)
class Picked:
    """Rows to label, the most valuable first."""

    rows: Ints
    gain: Floats
    """Money that each label is expected to save on all rows together, given those before it."""


def pick(around: Surroundings, lost: Floats, labelled: Bools, size: int, allowed: Bools | None = None) -> Picked:
    """The rows whose labels are worth most together.

    Args:
        around: of all rows, labelled and not.
        lost: (rows,) from `regret`, times the requests that a row stands for.
        labelled: (rows,) whose label is known; they are not picked, and what lies near them counts less.
        size: most rows.
        allowed: (rows,) that may be picked; default all that are not labelled.
    """
    known = np.full(len(around), PRIOR)
    done = np.flatnonzero(labelled)
    np.add.at(known, around.near[done].ravel(), around.similarity[done].ravel())
    free = ~labelled if allowed is None else allowed & ~labelled
    worth = _worth(around, lost, known, np.arange(len(around)))
    rows, gains = list[int](), list[float]()
    readers = _readers(around)
    while len(rows) < size and free.any():
        best = int(np.where(free, worth, -1.0).argmax())
        rows.append(best)
        gains.append(float(worth[best]))
        free[best] = False
        known[around.near[best]] += around.similarity[best]
        touched = np.unique(np.concatenate([readers[row] for row in around.near[best]]))
        worth[touched] = _worth(around, lost, known, touched)
    return Picked(np.array(rows, dtype=np.int64), np.array(gains))


def _worth(around: Surroundings, lost: Floats, known: Floats, rows: Ints) -> Floats:
    near, close = around.near[rows], around.similarity[rows]
    total: Floats = (close / (known[near] + close) * lost[near]).sum(axis=1)
    return total


def _readers(around: Surroundings) -> list[Ints]:
    """Of each row, those to whose neighbours it belongs."""
    order = np.argsort(around.near.ravel(), kind="stable")
    ends = np.searchsorted(around.near.ravel()[order], np.arange(1, len(around)))
    return np.split(order // around.near.shape[1], ends)


@dataclass(frozen=True, slots=True)
class Short:
    """A label of which more examples are wanted."""

    label: str
    have: int
    """Labelled rows of it."""
    lost: float
    """Share of what is expected to be lost, on rows that the model takes for it."""
    want: int
    """More rows of it."""


def short_of(
    labels: tuple[str, ...], counts: Ints, taken: Ints, lost: Floats, rows: int, *, most: int = 5
) -> tuple[Short, ...]:
    """Of which labels more examples are wanted: the few that half of the expected loss lies with, the worst first.

    Args:
        counts: (labels,) labelled rows.
        taken: (rows,) class index that the model takes each row of the pool for.
        lost: (rows,) from `regret`.
        rows: labels wanted in all; they are shared out by loss.
        most: labels at most.
    """
    by_label = np.bincount(taken, weights=lost, minlength=len(labels))
    total = float(by_label.sum())
    if total <= 0 or rows <= 0:
        return ()
    order = np.argsort(-by_label, kind="stable")[:most]
    until = int(np.searchsorted(np.cumsum(by_label[order]), total / 2)) + 1
    chosen = order[:until]
    shares = by_label[chosen] / by_label[chosen].sum()
    return tuple(
        Short(labels[i], int(counts[i]), float(by_label[i]) / total, int(np.ceil(rows * share)))
        for i, share in zip(chosen, shares, strict=True)
    )
