"""Share of rows whose most probable label is right: the model alone, before the value function decides anything."""

import numpy as np

from sartor.core.predict import Floats
from sartor.core.shelf import plugin
from sartor.evaluation.measure import Sample, mean


@plugin
@mean(unit="share of rows", higher_is_better=True, undefined="the subject gives no probabilities")
def top_accuracy(sample: Sample) -> Floats:
    """(rows,) 1 or 0."""
    if sample.top is None:
        return np.full(len(sample), np.nan)
    right: Floats = (sample.top == sample.true).astype(np.float64)
    return right
