"""F1 of each label, averaged over the labels that some row truly has: rare labels count as much as common ones.

Of the subject's own answers, escalated or not (there is no telling which wrong label someone else would give).
Averaged as in Opitz and Burst 2019, "Macro F1 and macro F1": the mean of the labels' F1.
"""

import numpy as np

from sartor.core.shelf import plugin
from sartor.evaluation.measure import Sample, whole


@plugin
@whole(unit="", higher_is_better=True, undefined="the subject gives no labels of its own", kinds=("classify",))
def macro_f1(sample: Sample) -> float | None:
    """Mean F1 of the labels that occur; None where the subject answers nothing."""
    known, answered = sample.true >= 0, sample.answer >= 0
    if not sample.terms.labels or not known.any() or not answered.any():
        return None
    size = len(sample.terms.labels)
    there = np.bincount(sample.true[known], minlength=size)
    given = np.bincount(sample.answer[answered], minlength=size)
    right = np.bincount(sample.true[known & (sample.true == sample.answer)], minlength=size)
    occurs = there > 0
    return float((2.0 * right[occurs] / (there + given)[occurs]).mean())
