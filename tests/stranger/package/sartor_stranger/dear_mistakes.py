"""Share of requests that lose at least five units of money."""

import numpy as np

from sartor import plugin
from sartor.core.predict import Floats
from sartor.evaluation.measure import Sample, mean

DEAR = 5.0


@plugin
@mean(unit="share of rows", higher_is_better=False)
def dear_mistakes(sample: Sample) -> Floats:
    """(rows,) 1 where a row loses that much, else 0."""
    return np.asarray(sample.costs >= DEAR, dtype=np.float64)
