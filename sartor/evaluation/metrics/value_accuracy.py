"""Share of a row's values that are right: among those that should be said or were, mean over rows."""

import numpy as np

from sartor.core.predict import Floats
from sartor.core.shelf import plugin
from sartor.evaluation.measure import Sample, mean


@plugin
@mean(unit="share of values", higher_is_better=True, undefined="the answers are no JSON objects", kinds=("extract",))
def value_accuracy(sample: Sample) -> Floats:
    """(rows,) NaN for a row in which nothing is and nothing should be said."""
    if sample.counts is None:
        return np.full(len(sample), np.nan)
    there = sample.counts[:, :4].sum(axis=1)
    return np.where(there > 0, sample.counts[:, 0] / np.maximum(there, 1.0), np.nan)
