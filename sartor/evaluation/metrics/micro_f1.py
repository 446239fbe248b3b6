"""F1 of extracted values over all rows at once: the strict measure, in which every value that is said counts."""

from sartor.core.shelf import plugin
from sartor.evaluation.extraction import Counts
from sartor.evaluation.measure import Sample, whole


@plugin
@whole(unit="", higher_is_better=True, undefined="the answers are no JSON objects", kinds=("extract",))
def micro_f1(sample: Sample) -> float | None:
    """Of the subject's own answers, escalated or not; None where nothing is and nothing should be said."""
    if sample.counts is None:
        return None
    return Counts(*sample.counts[:, :4].sum(axis=0).astype(int).tolist()).f1
