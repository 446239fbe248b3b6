"""What asking someone else costs where answers are written: the price, and the errors of whoever is asked."""

from dataclasses import replace

from sartor.core.rows import Snapshot
from sartor.core.task import Task
from sartor.evaluation.terms import no_answers
from sartor.evaluation.written import Written


def with_target(task: Task, snapshot: Snapshot, judging: Written) -> Written:
    """The judging, with what its escalation target loses in the mean.

    Measured on the answers of training and validation rows where they are on record, else the declared share of
    errors, each at the price of one wrong value.

    Raises:
        AskError: the value function names a column in which no such row has an answer.
    """
    escalate = task.value.escalate
    if escalate is None:
        return judging
    lost, right = escalate.error_rate * judging.pricing.every[0], 1.0 - escalate.error_rate
    if escalate.column is not None:
        rows = [row for split in ("train", "validation") for row in snapshot.splits[split]]
        each = [
            judging.assess(row.label, row.extra[escalate.column])
            for row in rows
            if row.label is not None and row.extra.get(escalate.column)
        ]
        if not each:
            raise no_answers(escalate.column)
        lost, right = sum(one.lost for one in each) / len(each), sum(one.right for one in each) / len(each)
    return replace(judging, pricing=replace(judging.pricing, target=escalate.price + lost), asked=right)
