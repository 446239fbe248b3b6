"""Share of requests that end with the right label, whoever gives it.

An escalated row counts with the chance that whoever is asked is right, so that a subject that asks about everything
is exactly as accurate as the one it asks.
"""

from sartor.core.predict import Floats
from sartor.core.shelf import plugin
from sartor.evaluation.measure import Sample, mean


@plugin
@mean(unit="share of rows", higher_is_better=True)
def accuracy(sample: Sample) -> Floats:
    """(rows,) 1 or 0, or the chance that whoever is asked is right."""
    return sample.right
