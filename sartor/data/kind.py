"""What a kind of task must know of the answers that stand in rows."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol

from sartor.core.rows import Row, Snapshot
from sartor.core.shelf import Shelf
from sartor.core.task import Task
from sartor.data.finding import Finding

KINDS = Shelf("sartor.data.kinds")


class Kind(Protocol):
    """What a row's answer is, and what can be wrong with it."""

    written: ClassVar[bool]
    """Answers are documents or texts, not labels."""

    def truth(self, task: Task, cell: Any) -> str | None:
        """The answer of a cell in its one form; None for an empty one."""
        ...

    def read(self, task: Task, text: str) -> str:
        """The one form of an answer that somebody gave.

        Raises:
            AskError: it can be no answer to the task.
        """
        ...

    def labels(self, task: Task, train: Sequence[Row]) -> tuple[str, ...]:
        """The labels of the task; none where answers are written."""
        ...

    def stratum(self, row: Row) -> str:
        """Rows of which every split should have its share."""
        ...

    def counted(self, rows: Sequence[Row]) -> dict[str, int]:
        """How often each sort of answer stands in rows."""
        ...

    def stake(self, task: Task, snapshot: Snapshot) -> float:
        """Money between a right and a wrong answer."""
        ...

    def check(self, task: Task, snapshot: Snapshot) -> Iterator[Finding]:
        """Everything that answers and their costs can have wrong."""
        ...


def kind_of(task: Task) -> Kind:
    """The kind of a task."""
    kind: Kind = KINDS.take(task.kind)()
    return kind
