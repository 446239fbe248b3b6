"""What answers are judged by: labels, what mistakes cost, who can be asked, and how sure to be.

Knows no answers. Made from the task's contract once, handed to inspection, comparison and the gate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.rows import Hierarchy
from sartor.core.task import Task
from sartor.core.value import cost_matrix, target_costs
from sartor.evaluation.chosen import Chosen
from sartor.evaluation.judging import Judging
from sartor.evaluation.written import Written


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms under which answers are judged."""

    labels: tuple[str, ...]
    """Position is the class index; empty where answers are written."""
    matrix: Floats
    """(labels, labels) money lost; row is the truth, column the answer. (0, 0) where answers are written."""
    target: Floats | None = None
    """(labels,) money lost when someone else is asked; None where nobody can be."""
    asked: Floats | None = None
    """(labels,) chance that whoever is asked is right."""
    hierarchy: Hierarchy = field(default_factory=Hierarchy)
    kind: str = "classify"
    """Of the task."""
    written: Written | None = None
    """Who judges answers that are written; None where they are labels."""
    confidence: float = 0.95
    """Of every interval; tests are one-sided at half of what is left over, so that both say the same."""
    seed: int = 0
    draws: int = 2000
    """Resamples behind an interval."""

    @cached_property
    def judging(self) -> Judging:
        """Who judges the answers."""
        if self.written is not None:
            return self.written
        return Chosen(self.labels, self.matrix, self.target, self.asked, self.hierarchy)

    @property
    def alpha(self) -> float:
        """Level of the one-sided tests: 0.025 at a confidence of 0.95."""
        return (1.0 - self.confidence) / 2.0

    @classmethod
    def of(cls, task: Task, labels: Sequence[str], hierarchy: Hierarchy, confusion: Floats | None = None) -> "Terms":
        """The terms that a contract states.

        Args:
            confusion: (labels, labels) measured chances of the target's answers given the truth, where the target's
                answers are on record (`core.value.measured_confusion`); without it the declared error rate counts.
        """
        matrix = cost_matrix(task.value, labels, hierarchy)
        target = asked = None
        if task.value.escalate is not None:
            target = target_costs(task.value, matrix, confusion)
            right = 1.0 - task.value.escalate.error_rate
            asked = np.full(len(labels), right) if confusion is None else np.diagonal(confusion).copy()
        return cls(tuple(labels), matrix, target, asked, hierarchy, confidence=task.gate.confidence, seed=task.seed)

    @classmethod
    def of_written(cls, task: Task, judging: Written) -> "Terms":
        """The terms of a contract whose answers are written."""
        return cls(
            (), np.zeros((0, 0)), kind=task.kind, written=judging, confidence=task.gate.confidence, seed=task.seed
        )


def no_answers(column: str) -> AskError:
    """The error where nothing was recorded in the column of whoever is asked."""
    return AskError(
        f"value.escalate.column names '{column}', but no training or validation row has an answer there. "
        "Add rows with recorded answers, or state an error_rate instead.",
        param="value.escalate.column",
        code="no_recorded_answers",
    )
