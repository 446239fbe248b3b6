"""By what rows are looked at apart: what their kind of answer brings (label, the classes above it), and the columns
that the task names.

Knows neither figures nor tests.
"""

from collections.abc import Iterator

import numpy as np

from sartor.evaluation.answers import Answers
from sartor.evaluation.judging import Cut
from sartor.evaluation.terms import Terms

MOST = 50
"""Values of a column that are looked at, the most frequent ones; labels and their classes are all looked at."""


def cuts(answers: Answers, terms: Terms) -> Iterator[Cut]:
    """All ways in which these answers are divided, those of their kind first."""
    yield from terms.judging.cuts(answers)
    for column, values in answers.slices.items():
        names, codes = np.unique(values, return_inverse=True)
        yield Cut(column, names, codes, MOST)
