"""Money lost per 1,000 requests: mistakes, asking, serving and waiting together."""

from sartor.core.predict import Floats
from sartor.core.shelf import plugin
from sartor.evaluation.measure import Sample, mean


@plugin
@mean(unit="money per 1,000 requests", higher_is_better=False)
def money_per_1000(sample: Sample) -> Floats:
    """(rows,) a thousand times what each row cost."""
    return sample.costs * 1000.0
