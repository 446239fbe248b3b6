"""What a kind of answer must be able to say for its answers to be inspected, compared and gated.

`chosen` judges labels, `written` JSON objects and texts. Everything behind this knows only rows that are right, cost
money, and are told apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats
from sartor.core.value import Ints
from sartor.evaluation.answers import Answers, Notes

OUTSIDE = "(out of scope)"
NO_ANSWER = "(no answer)"


@dataclass(frozen=True, eq=False)
class Cut:
    """The rows divided by one column."""

    column: str
    names: npt.NDArray[np.str_]
    """(values,) what stands in the column."""
    codes: Ints
    """(rows,) position of each row's value in `names`."""
    most: int | None = None
    """How many values are looked at, the most frequent ones; None: all."""
    least: int = 5
    """Rows below which a value is left out: nothing can be said about it."""

    def count(self) -> Ints:
        """(values,) rows of each value."""
        return np.bincount(self.codes, minlength=len(self.names))

    def total(self, values: Floats) -> Floats:
        """(values,) sums of (rows,) over each value's rows."""
        sums: Floats = np.bincount(self.codes, weights=values, minlength=len(self.names)).astype(np.float64)
        return sums

    def kept(self) -> Ints:
        """Positions of the values that are looked at, in order."""
        count = self.count()
        ranked = np.argsort(-count, kind="stable")[: self.most]
        return np.sort(ranked[count[ranked] >= self.least])


@dataclass(frozen=True, eq=False)
class Judged:
    """What answers came to, by columns of equal length."""

    true: Ints
    """(rows,) class index of the truth; of written answers 0; -1 where no answer can be right."""
    answer: Ints
    """(rows,) class index of the answer; of written ones 0 for a right one and 1 for another; -1 for none."""
    right: Floats
    """(rows,) 1 or 0; for an escalated row the chance that whoever is asked is right."""
    lost: Floats
    """(rows,) money lost by errors and by asking, serving not counted."""
    top: Ints | None
    """(rows,) likeliest answer, in the terms of `true`; None where the subject gives no chances."""
    confidence: Floats | None
    """(rows,) its chance."""
    counts: Floats | None = None
    """(rows, 8) values right, wrong, missed, invented: first all of them, then those of fields that the truth has."""
    parts: Mapping[str, Floats] = field(default_factory=dict)
    """Criterion of a rubric -> (rows,) how far it is fulfilled, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One sort of mistake, over rows answered here."""

    true: str
    answer: str
    count: int
    money: float


@dataclass(frozen=True, eq=False)
class Look:
    """One thing about answers that can change over time."""

    title: str
    usual: Floats
    """(n,) its value in each of the answers that others are compared with; of names their numbers."""
    given: Floats
    """(m,) its value in each answer that is looked at."""
    names: tuple[str, ...] = ()
    """What the values are numbers of; () they are sizes."""
    learnt: Floats | None = None
    """(names,) how often each stands in the rows that were learnt from, and once more."""


class Judging(Protocol):
    """Judges one kind of answers under one value function."""

    def judge(self, answers: Answers) -> Judged:
        """What each answer came to."""
        ...

    def redecide(self, answers: Answers) -> Answers:
        """What would be answered under this value function, by the same beliefs; without beliefs the same."""
        ...

    def texts(self, answers: Answers) -> tuple[Notes, Notes]:
        """(rows,) truths and (rows,) answers in words; equal words are equal answers."""
        ...

    def mistakes(self, answers: Answers) -> list[Mistake]:
        """Sorts of mistakes."""
        ...

    def cuts(self, answers: Answers) -> Iterator[Cut]:
        """How this kind divides its rows, beside the columns that the task names."""
        ...

    def limits(self) -> tuple[float, float]:
        """The least and the most money that one row can lose."""
        ...

    def lost_by(self, truth: str, said: str) -> float | None:
        """Money lost where one thing was said and another is right; None where that can't be told."""
        ...

    def same(self, truth: str, said: str) -> bool:
        """Whether an answer is right in all where another is the truth."""
        ...

    def here(self, answers: Answers) -> Answers:
        """What would be answered by the same beliefs if nobody else could be asked."""
        ...

    def chances(self, answers: Answers) -> Floats | None:
        """(rows,) calibrated chance that the answer given is right in all; None where nothing is known of it."""
        ...

    def can_be(self, said: str) -> bool:
        """Whether something can be an answer at all."""
        ...

    def looks(self, learnt: Sequence[str], usual: Sequence[str], given: Sequence[str]) -> list[Look]:
        """What is watched of answers; which things these are never depends on `given`.

        Args:
            learnt: right answers that were learnt from.
            usual: answers that others are compared with.
            given: answers that are looked at; each can be one.
        """
        ...

    def facts(self, answers: Answers) -> dict[str, Any]:
        """What else an inspection shows of this kind."""
        ...
