"""By what rows are looked at apart: their label, the classes above it, and the columns that the task names.

Knows neither figures nor tests.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats
from sartor.core.value import Ints
from sartor.evaluation.answers import Answers
from sartor.evaluation.terms import Terms

LEAST = 5
"""Rows below which a slice is left out: nothing can be said about it."""
MOST = 50
"""Values of a column that are looked at, the most frequent ones; labels and their classes are all looked at."""
OUTSIDE = "(out of scope)"
NO_ANSWER = "(no answer)"


@dataclass(frozen=True, eq=False)
class Cut:
    """The rows divided by one column."""

    column: str
    names: npt.NDArray[np.str_]
    """(values,) what stands in the column."""
    codes: Ints
    """(rows,) position of each row's value in `names`."""
    most: int | None = None
    """How many values are looked at, the most frequent ones; None: all."""

    def count(self) -> Ints:
        """(values,) rows of each value."""
        return np.bincount(self.codes, minlength=len(self.names))

    def total(self, values: Floats) -> Floats:
        """(values,) sums of (rows,) over each value's rows."""
        sums: Floats = np.bincount(self.codes, weights=values, minlength=len(self.names)).astype(np.float64)
        return sums

    def kept(self) -> Ints:
        """Positions of the values that are looked at, in order."""
        count = self.count()
        ranked = np.argsort(-count, kind="stable")[: self.most]
        return np.sort(ranked[count[ranked] >= LEAST])


def cuts(answers: Answers, terms: Terms) -> Iterator[Cut]:
    """All ways in which these answers are divided, `label` first."""
    names = np.array([*terms.labels, OUTSIDE], dtype=np.str_)
    yield Cut("label", names, np.where(answers.true < 0, len(terms.labels), answers.true))
    for depth, level in enumerate(terms.hierarchy.levels):
        parents = terms.hierarchy.parents
        classes = np.array([*(parents[label][depth] for label in terms.labels), OUTSIDE], dtype=np.str_)
        yield _cut(level, classes[answers.true])
    for column, values in answers.slices.items():
        yield _cut(column, values, MOST)


def _cut(column: str, values: npt.NDArray[np.str_], most: int | None = None) -> Cut:
    names, codes = np.unique(values, return_inverse=True)
    return Cut(column, names, codes, most)
