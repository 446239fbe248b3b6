"""F1 of extracted values in fields for which the row's truth has one: what is invented elsewhere costs nothing.

The measure that is published for product attributes (Brinkmann, Shraga and Bizer 2023); `micro_f1` is the strict one.
"""

from sartor.core.shelf import plugin
from sartor.evaluation.extraction import Counts
from sartor.evaluation.measure import Sample, whole


@plugin
@whole(unit="", higher_is_better=True, undefined="the answers are no JSON objects", kinds=("extract",))
def listed_f1(sample: Sample) -> float | None:
    """Of the subject's own answers, escalated or not; None where no row has a value."""
    if sample.counts is None:
        return None
    return Counts(*sample.counts[:, 4:].sum(axis=0).astype(int).tolist()).f1
