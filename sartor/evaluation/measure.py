"""What a metric is: a function of a sample, and what must be known to use the number that it gives.

A metric is a file on the shelf `sartor.evaluation.metrics` (or a stranger's, under the entry point group of that
name) with one object, made by `mean` or `whole`:

    @plugin
    @mean(unit="share of rows", higher_is_better=True)
    def accuracy(sample: Sample) -> Floats: ...           # (rows,) values, NaN where a row does not count

    @plugin
    @whole(unit="", higher_is_better=True)
    def macro_f1(sample: Sample) -> float | None: ...     # of all rows at once; None where it is undefined

Means get exact or fast intervals and paired tests; the others are resampled. Knows no particular metric.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial, update_wrapper, wraps
from typing import Any

import numpy as np
import numpy.typing as npt

from sartor.core.errors import PluginError, SartorError
from sartor.core.predict import Floats
from sartor.core.shelf import Shelf
from sartor.core.value import Ints
from sartor.evaluation.answers import Answers
from sartor.evaluation.terms import Terms

METRICS = Shelf("sartor.evaluation.metrics")


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows to be measured, by columns of equal length."""

    terms: Terms
    true: Ints
    """(rows,) class index; -1 where the truth is no label of the task. Of written answers 0."""
    answer: Ints
    """(rows,) class index of the subject's own answer; -1 where it has none. Of written answers 0 for a right one and
    1 for another."""
    escalated: npt.NDArray[np.bool_]
    """(rows,) someone else is asked."""
    right: Floats
    """(rows,) 1 or 0 for an answered row; for an escalated one the chance that whoever is asked is right."""
    costs: Floats
    """(rows,) money lost."""
    top: Ints | None
    """(rows,) most probable label; None where the subject gives no probabilities."""
    confidence: Floats | None
    """(rows,) its probability."""
    out_of_scope: Floats | None
    """(rows,) higher means less like anything in training."""
    counts: Floats | None = None
    """(rows, 8) of extractions: values right, wrong, missed, invented; all, then those of fields that the truth has."""

    def __len__(self) -> int:
        return len(self.true)

    @classmethod
    def of(cls, answers: Answers, terms: Terms, overhead: float = 0.0) -> "Sample":
        """The sample of all answers; `overhead` is measured money per request on top of every row."""
        judged = terms.judging.judge(answers)
        return cls(
            terms=terms,
            true=judged.true,
            answer=judged.answer,
            escalated=answers.escalated,
            right=judged.right,
            costs=judged.lost + answers.serving_cost + overhead,
            top=judged.top,
            confidence=judged.confidence,
            out_of_scope=answers.out_of_scope,
            counts=judged.counts,
        )

    @property
    def share(self) -> Floats:
        """(rows,) how much of each answer is right: of an extraction the F1 of its values, of others `right`."""
        if self.counts is None:
            return self.right
        right, wrong, missed, invented = self.counts[:, :4].T
        every = 2 * (right + wrong) + missed + invented
        values = 2 * right / np.maximum(every, 1.0)
        return np.where(self.escalated | (every == 0), self.right, values)

    def take(self, rows: Ints | npt.NDArray[np.bool_]) -> "Sample":
        """These rows (indices, repeats allowed, or a mask)."""
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "terms"}
        taken: dict[str, Any] = {name: None if column is None else column[rows] for name, column in columns.items()}
        return Sample(self.terms, **taken)


class Measure:
    """A metric: called with a sample it gives one number, or None where that is undefined."""

    def __init__(
        self,
        function: Callable[..., float | None],
        *,
        unit: str,
        higher_is_better: bool,
        per_row: Callable[..., Floats] | None = None,
        parts: Callable[[Terms], Sequence[str]] | None = None,
        undefined: str = "undefined on these rows",
        kinds: Sequence[str] = (),
    ) -> None:
        update_wrapper(self, function)
        self.function = function
        self.unit = unit
        self.higher_is_better = higher_is_better
        self.per_row = per_row
        """(rows,) values whose mean the metric is, NaN where a row does not count; None for other metrics."""
        self.parts = parts
        """What the metric is taken of, one by one (the levels of the hierarchy); the function then gets `part` too."""
        self.undefined = undefined
        """Why there is no number, where there is none."""
        self.kinds = tuple(kinds)
        """Kinds of task that it says something of; empty: all."""

    def __call__(self, sample: Sample) -> float | None:
        """The metric of these rows."""
        return self.function(sample)

    def of(self, part: str) -> "Measure":
        """The metric of one of its parts."""
        return Measure(
            partial(self.function, part=part),
            unit=self.unit,
            higher_is_better=self.higher_is_better,
            per_row=partial(self.per_row, part=part) if self.per_row else None,
            undefined=self.undefined,
            kinds=self.kinds,
        )


def mean(
    *,
    unit: str,
    higher_is_better: bool,
    parts: Callable[[Terms], Sequence[str]] | None = None,
    undefined: str = "no row counts",
    kinds: Sequence[str] = (),
) -> Callable[[Callable[..., Floats]], Measure]:
    """Make a metric of a function that gives a value per row: their mean."""

    def make(per_row: Callable[..., Floats]) -> Measure:
        @wraps(per_row)
        def average(sample: Sample, **part: str) -> float | None:
            values = per_row(sample, **part)
            counted = values[~np.isnan(values)]
            return float(counted.mean()) if len(counted) else None

        return Measure(
            average,
            unit=unit,
            higher_is_better=higher_is_better,
            per_row=per_row,
            parts=parts,
            undefined=undefined,
            kinds=kinds,
        )

    return make


def whole(
    *, unit: str, higher_is_better: bool, undefined: str = "undefined on these rows", kinds: Sequence[str] = ()
) -> Callable[[Callable[[Sample], float | None]], Measure]:
    """Make a metric of a function that needs all rows at once."""

    def make(function: Callable[[Sample], float | None]) -> Measure:
        return Measure(function, unit=unit, higher_is_better=higher_is_better, undefined=undefined, kinds=kinds)

    return make


def take(name: str) -> Measure:
    """A metric of the shelf by name; `level_accuracy:chapter` is the metric `level_accuracy` of the part `chapter`.

    Raises:
        NotFoundError: no such metric; the known ones are listed.
        PluginError: the plug-in was not made by `mean` or `whole`, so nobody knows whether more of it is better.
    """
    stem, _, part = name.partition(":")
    made = METRICS.take(stem).make
    if not isinstance(made, Measure):
        says = TypeError("a metric is made by @mean or @whole of sartor.evaluation.measure")
        raise PluginError(METRICS.package, stem, says)
    return made.of(part) if part else made


def names(terms: Terms) -> list[str]:
    """Names of all figures that the shelf gives under these terms: metrics that have parts once for each part.

    A plug-in that can't be taken is named too, so that whoever measures comes upon what is wrong with it.
    """
    found: list[str] = []
    for stem in METRICS:
        try:
            taken = take(stem)
        except SartorError:
            found.append(stem)
            continue
        if taken.kinds and terms.kind not in taken.kinds:
            continue
        parts = taken.parts
        found += [stem] if parts is None else [f"{stem}:{part}" for part in parts(terms)]
    return found
