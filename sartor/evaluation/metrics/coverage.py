"""Share of requests that are answered here, without asking anyone else."""

import numpy as np

from sartor.core.predict import Floats
from sartor.core.shelf import plugin
from sartor.evaluation.measure import Sample, mean


@plugin
@mean(unit="share of rows", higher_is_better=True)
def coverage(sample: Sample) -> Floats:
    """(rows,) 1 where a valid label goes out, 0 where someone is asked or there is none."""
    return (~sample.escalated & (sample.answer >= 0)).astype(np.float64)
