"""Which labels more test rows are wanted of, where a gate says that more would settle it. Knows no store and no queue.

What makes a comparison unsure is the variance of the paired differences; a label's part of it is the sum of squares
of its rows. More rows of the labels with the greatest parts narrow the interval fastest (Neyman 1934, on allocating a
sample to strata).
"""

from dataclasses import dataclass

import numpy as np

from sartor.evaluation.answers import Answers
from sartor.evaluation.measure import Sample
from sartor.evaluation.terms import Terms

SHARE = 0.5
"""Of the variance that the named labels must make up."""
MOST = 5
"""Labels that are named."""


@dataclass(frozen=True)
class Wanted:
    """More rows of one label."""

    label: str
    rows: int


def wanted(candidate: Answers, incumbent: Answers, terms: Terms, rows: int) -> tuple[Wanted, ...]:
    """How many of the rows that are needed should be of which labels, most first.

    Args:
        candidate: decided under the terms, as the incumbent's; of the same rows in the same order.
        rows: that are needed in all.
    """
    new, old = Sample.of(candidate, terms), Sample.of(incumbent, terms)
    gains = old.costs - new.costs
    squares = (gains - gains.mean()) ** 2
    if rows < 1 or squares.sum() == 0:
        return ()
    cut = next(terms.judging.cuts(candidate), None)
    if cut is None:
        return ()
    names = cut.names.tolist()
    parts = cut.total(squares)
    order = np.argsort(-parts, kind="stable")
    reached = np.cumsum(parts[order]) / parts.sum()
    chosen = order[: min(MOST, int(np.searchsorted(reached, SHARE)) + 1)]
    each = np.maximum(1, np.rint(rows * parts[chosen] / parts[chosen].sum())).astype(int)
    return tuple(Wanted(names[at], int(count)) for at, count in zip(chosen, each, strict=True))
