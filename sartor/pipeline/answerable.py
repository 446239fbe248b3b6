"""What an answer to a task may be: one of its labels, or whatever its kind can read."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sartor.core.errors import AskError
from sartor.core.task import Task
from sartor.data.kind import kind_of
from sartor.feedback.reading import Reads


class Readable(Sequence[str]):
    """All answers that can be read, as a collection: there is no list of them, but each can be told."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def __contains__(self, said: object) -> bool:
        if not isinstance(said, str):
            return False
        try:
            self._reads(said)
        except AskError:
            return False
        return True

    def __len__(self) -> int:
        return 0

    def __getitem__(self, place: Any) -> Any:
        raise IndexError(place)


def reads_of(task: Task) -> Reads:
    """What brings an answer that somebody gave to its one form, or says in words why it is none."""
    return partial(kind_of(task).read, task)


def answerable(task: Task, labels: Sequence[str]) -> Sequence[str]:
    """The answers that may be given: the labels, or where there are none all that can be read."""
    return labels or Readable(reads_of(task))
