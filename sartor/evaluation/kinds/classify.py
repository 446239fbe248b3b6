"""Labels: judged by the matrix of what it costs to take one for another."""

import numpy as np

from sartor.core.predict import Floats
from sartor.core.rows import Snapshot
from sartor.core.shelf import plugin
from sartor.core.task import Task
from sartor.core.value import measured_confusion
from sartor.evaluation.terms import Terms, no_answers


@plugin
def classify(task: Task, snapshot: Snapshot) -> Terms:
    """The terms of a contract on a data set, with the target's measured errors where they are on record."""
    return Terms.of(task, snapshot.labels, snapshot.hierarchy, _confusion(task, snapshot))


def _confusion(task: Task, snapshot: Snapshot) -> Floats | None:
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
        raise no_answers(escalate.column)
    true, answers = np.array(rows).T
    return measured_confusion(true, answers, len(snapshot.labels))
