"""The terms under which a task's answers are judged, as its kind states them."""

from sartor.core.rows import Snapshot
from sartor.core.shelf import Shelf
from sartor.core.task import Task
from sartor.evaluation.terms import Terms
from sartor.evaluation.written import SCORERS

KINDS = Shelf("sartor.evaluation.kinds")


def judged_by(task: Task) -> tuple[str, ...]:
    """Modules that judge a task's answers: the memo can't see them, since they are taken from shelves."""
    return (KINDS.take(task.kind).module, *(SCORERS.take(criterion.use).module for criterion in task.value.rubric))


def terms_of(task: Task, snapshot: Snapshot) -> Terms:
    """The terms of a contract on a data set.

    Raises:
        AskError: the value function names a column in which nobody's answers are recorded.
    """
    terms: Terms = KINDS.take(task.kind)(task, snapshot)
    return terms
