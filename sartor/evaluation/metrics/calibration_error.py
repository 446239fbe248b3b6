"""How far confidence is from the share of right answers: expected calibration error of the most probable label.

Bins hold equally many rows (Nguyen and O'Connor 2015, "Posterior calibration and exploratory analysis"), since
bins of equal width leave most of them empty where a model is mostly sure (Guo et al. 2017). Over rows whose truth
is a label. The estimate leans upwards on few rows: noise in a bin counts as error.
"""

import numpy as np

from sartor.core.shelf import plugin
from sartor.evaluation.measure import Sample, whole

BINS = 15
LEAST = 20
"""Rows that a bin should hold; fewer rows make fewer bins."""


@plugin
@whole(unit="share", higher_is_better=False, undefined="the subject gives no probabilities")
def calibration_error(sample: Sample) -> float | None:
    """Mean distance of confidence and accuracy over the bins, weighted by their rows; between 0 and 1."""
    if sample.top is None or sample.confidence is None:
        return None
    known = sample.true >= 0
    if not known.any():
        return None
    confidence = sample.confidence[known]
    order = np.argsort(confidence, kind="stable")
    right = (sample.top[known] == sample.true[known])[order]
    gaps = confidence[order] - right
    bins = max(1, min(BINS, len(gaps) // LEAST))
    edges = np.linspace(0, len(gaps), bins + 1).astype(int)[:-1]
    return float(np.abs(np.add.reduceat(gaps, edges)).sum() / len(gaps))
