"""The terms under which a task's answers are judged, with the target's measured errors where they are on record."""

import numpy as np

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.rows import Snapshot
from sartor.core.task import Task
from sartor.core.value import measured_confusion
from sartor.evaluation.terms import Terms


def terms_of(task: Task, snapshot: Snapshot) -> Terms:
    """The terms of a contract on a data set."""
    return Terms.of(task, snapshot.labels, snapshot.hierarchy, target_confusion(task, snapshot))


def target_confusion(task: Task, snapshot: Snapshot) -> Floats | None:
    """(labels, labels) chances of the escalation target's answers given the truth, from its recorded answers.

    Only training and validation rows count: the test rows must stay unseen by every decision.

    Raises:
        AskError: the value function names a column in which no such row has an answer.
    """
    escalate = task.value.escalate
    if escalate is None or escalate.column is None:
        return None
    index = {label: i for i, label in enumerate(snapshot.labels)}
    rows = [
        (index[row.label], index.get(row.extra[escalate.column], -1))
        for split in ("train", "validation")
        for row in snapshot.splits[split]
        if row.label in index and row.extra.get(escalate.column)
    ]
    if not rows:
        raise AskError(
            f"value.escalate.column names '{escalate.column}', but no training or validation row has an answer there. "
            "Add rows with recorded answers, or state an error_rate instead.",
            param="value.escalate.column",
            code="no_recorded_answers",
        )
    true, answers = np.array(rows).T
    return measured_confusion(true, answers, len(snapshot.labels))
