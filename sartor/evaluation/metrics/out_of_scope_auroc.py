"""How well the out-of-scope score tells rows without a label of the task from the others, at all thresholds at once.

The chance that a row out of scope scores higher than one in scope, ties counting half: the area under the ROC curve
is the Mann-Whitney statistic (Hanley and McNeil 1982).
"""

import numpy as np

from sartor.core.shelf import plugin
from sartor.evaluation.measure import Sample, whole


@plugin
@whole(
    unit="",
    higher_is_better=True,
    undefined="needs out-of-scope scores, and rows both in and out of scope",
    kinds=("classify",),
)
def out_of_scope_auroc(sample: Sample) -> float | None:
    """Between 0 and 1; 0.5 is chance."""
    if sample.out_of_scope is None:
        return None
    outside = np.sort(sample.out_of_scope[sample.true < 0])
    inside = np.sort(sample.out_of_scope[sample.true >= 0])
    if not len(outside) or not len(inside):
        return None
    below = np.searchsorted(inside, outside, side="left").sum()
    at_most = np.searchsorted(inside, outside, side="right").sum()
    return float((below + at_most) / 2.0 / len(outside) / len(inside))
