"""Judges labels: one of a closed list, by a matrix of costs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sartor.core.predict import Floats
from sartor.core.rows import Hierarchy
from sartor.core.value import choose, realised_costs
from sartor.evaluation.answers import Answers, Notes
from sartor.evaluation.judging import NO_ANSWER, OUTSIDE, Cut, Judged, Look, Mistake


@dataclass(frozen=True, eq=False)
class Chosen:
    """Judges labels."""

    labels: tuple[str, ...]
    matrix: Floats
    """(labels, labels) money lost; row is the truth, column the answer."""
    target: Floats | None = None
    """(labels,) money lost when someone else is asked; None where nobody can be."""
    asked: Floats | None = None
    """(labels,) chance that whoever is asked is right."""
    hierarchy: Hierarchy = field(default_factory=Hierarchy)

    def judge(self, answers: Answers) -> Judged:
        """What each answer came to."""
        right = ((answers.true == answers.answer) & (answers.true >= 0)).astype(np.float64)
        if self.asked is not None:
            chance = np.where(answers.true >= 0, self.asked[answers.true], self.asked.mean())
            right = np.where(answers.escalated, chance, right)
        top = confidence = None
        if answers.probabilities is not None:
            top = answers.probabilities.argmax(axis=1)
            confidence = answers.probabilities[np.arange(len(answers)), top].astype(np.float64)
        lost = realised_costs(answers.true, answers.answer, self.matrix, answers.escalated, self.target)
        return Judged(answers.true, answers.answer, right, lost, top, confidence)

    def redecide(self, answers: Answers) -> Answers:
        """The least-cost labels under the same probabilities."""
        if answers.probabilities is None:
            return answers
        choice = choose(answers.probabilities, self.matrix, self.target)
        return replace(answers, answer=choice.answer.astype(np.int32), escalated=choice.escalate)

    def texts(self, answers: Answers) -> tuple[Notes, Notes]:
        """(rows,) right labels and (rows,) given ones."""
        truths = np.array([*self.labels, OUTSIDE], dtype=object)
        said = np.array([*self.labels, NO_ANSWER], dtype=object)
        return truths[answers.true], said[answers.answer]

    def mistakes(self, answers: Answers) -> list[Mistake]:
        """Which label was given for which."""
        wrong = ~answers.escalated & ((answers.true != answers.answer) | (answers.true < 0))
        if not wrong.any():
            return []
        true, answer = answers.true[wrong], answers.answer[wrong]
        money = realised_costs(true, answer, self.matrix)
        size = len(self.labels) + 1
        kinds, codes = np.unique((true % size).astype(np.int64) * size + answer % size, return_inverse=True)
        count, total = np.bincount(codes), np.bincount(codes, weights=money)
        truths, said = (*self.labels, OUTSIDE), (*self.labels, NO_ANSWER)
        return [
            Mistake(truths[kind // size], said[kind % size], int(n), float(lost))
            for kind, n, lost in zip(kinds.tolist(), count, total, strict=True)
        ]

    def cuts(self, answers: Answers) -> Iterator[Cut]:
        """By label, and by the classes above it."""
        names = np.array([*self.labels, OUTSIDE], dtype=np.str_)
        yield Cut("label", names, np.where(answers.true < 0, len(self.labels), answers.true))
        for depth, level in enumerate(self.hierarchy.levels):
            parents = self.hierarchy.parents
            classes = np.array([*(parents[label][depth] for label in self.labels), OUTSIDE], dtype=np.str_)
            names, codes = np.unique(classes[answers.true], return_inverse=True)
            yield Cut(level, names, codes)

    def limits(self) -> tuple[float, float]:
        """The least and the most that one row can lose."""
        columns = [self.matrix] if self.target is None else [self.matrix, self.target]
        return min(float(c.min()) for c in columns), max(float(c.max()) for c in columns)

    def lost_by(self, truth: str, said: str) -> float | None:
        """The cost of one label for another."""
        if truth not in self.labels or said not in self.labels:
            return None
        return float(self.matrix[self.labels.index(truth), self.labels.index(said)])

    def same(self, truth: str, said: str) -> bool:
        """Whether they are one label."""
        return truth == said

    def here(self, answers: Answers) -> Answers:
        """The least-cost labels where nobody else is asked."""
        return replace(self, target=None).redecide(answers)

    def chances(self, answers: Answers) -> Floats | None:
        """The probability of each label that was given; of a row without an answer none."""
        if answers.probabilities is None:
            return None
        given: Floats = answers.probabilities[np.arange(len(answers)), answers.answer].astype(np.float64)
        return np.where(answers.answer >= 0, given, 0.0)

    def can_be(self, said: str) -> bool:
        """Whether it is one of the labels."""
        return said in self.labels

    def looks(self, learnt: Sequence[str], usual: Sequence[str], given: Sequence[str]) -> list[Look]:
        """Which label was given."""
        index = {label: place for place, label in enumerate(self.labels)}
        known = np.array([index[label] for label in learnt if label in index], dtype=np.int64)
        counts = np.bincount(known, minlength=len(self.labels)) + 1.0
        before, after = (np.array([index[said] for said in texts], dtype=np.float64) for texts in (usual, given))
        return [Look("labels", before, after, self.labels, counts)]

    def facts(self, answers: Answers) -> dict[str, Any]:  # noqa: ARG002 - all there is stands in other figures
        """Nothing more."""
        return {}
