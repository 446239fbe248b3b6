"""Share of the rows out of scope that the score catches when it also flags 5 % of the rows in scope.

At a stated price in good rows, since every model sets its own threshold.
"""

import numpy as np

from sartor.core.shelf import plugin
from sartor.evaluation.measure import Sample, whole

KEPT = 0.95
"""Share of the rows in scope that stay under the threshold."""


@plugin
@whole(
    unit="share of rows",
    higher_is_better=True,
    undefined="needs out-of-scope scores, and rows in and out of scope",
    kinds=("classify",),
)
def out_of_scope_recall(sample: Sample) -> float | None:
    """Between 0 and 1."""
    if sample.out_of_scope is None:
        return None
    outside, inside = sample.out_of_scope[sample.true < 0], sample.out_of_scope[sample.true >= 0]
    if not len(outside) or not len(inside):
        return None
    return float((outside > np.quantile(inside, KEPT, method="higher")).mean())
