"""Share of requests that end in the right class at a level of the label hierarchy (wrong block, right chapter).

An escalated row counts with the chance that whoever is asked gives the right label: a lower bound of the chance
that the class is right.
"""

import numpy as np

from sartor.core.predict import Floats
from sartor.core.shelf import plugin
from sartor.evaluation.measure import Sample, mean
from sartor.evaluation.terms import Terms


def levels(terms: Terms) -> tuple[str, ...]:
    """The levels that the task declares."""
    return terms.hierarchy.levels


@plugin
@mean(
    unit="share of rows",
    higher_is_better=True,
    parts=levels,
    undefined="the task declares no such level",
    kinds=("classify",),
)
def level_accuracy(sample: Sample, part: str = "") -> Floats:
    """(rows,) 1 or 0, or the chance that whoever is asked is right; `part` is the level, default the nearest."""
    hierarchy = sample.terms.hierarchy
    if not hierarchy.levels or (part and part not in hierarchy.levels):
        return np.full(len(sample), np.nan)
    depth = hierarchy.levels.index(part) if part else 0
    classes = [hierarchy.parents[label][depth] for label in sample.terms.labels]
    codes = np.unique(classes, return_inverse=True)[1]
    known = (sample.true >= 0) & (sample.answer >= 0)
    same = known & (codes[sample.true] == codes[sample.answer])
    return np.where(sample.escalated, sample.right, same.astype(np.float64))
