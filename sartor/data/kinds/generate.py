"""Texts: each row has one right text."""

from collections.abc import Iterator, Sequence
from typing import Any

from sartor.core.errors import AskError
from sartor.core.rows import SPLITS, Row, Snapshot
from sartor.core.shelf import plugin
from sartor.core.task import Task
from sartor.data.finding import Finding, absurd
from sartor.data.reading import as_text


@plugin
class Generate:
    """What a row's answer is, and what can be wrong with it."""

    written = True

    def truth(self, task: Task, cell: Any) -> str | None:  # noqa: ARG002 - the shelf's one signature
        """The text of a cell; None for an empty one."""
        return (as_text(cell) or "").strip() or None

    def read(self, task: Task, text: str) -> str:  # noqa: ARG002 - the shelf's one signature
        """The text without white space at its ends.

        Raises:
            AskError: it is empty.
        """
        if not text.strip():
            raise AskError("An answer to this task is a text, and this one is empty.", param="value", code="no_text")
        return text.strip()

    def labels(self, task: Task, train: Sequence[Row]) -> tuple[str, ...]:  # noqa: ARG002 - the shelf's one signature
        """None: answers are written."""
        return ()

    def stratum(self, row: Row) -> str:  # noqa: ARG002 - the shelf's one signature
        """All rows are one."""
        return ""

    def counted(self, rows: Sequence[Row]) -> dict[str, int]:
        """Rows with a text and without."""
        there = sum(1 for row in rows if row.label)
        return {"text": there} | ({"(none)": len(rows) - there} if there < len(rows) else {})

    def stake(self, task: Task, snapshot: Snapshot) -> float:  # noqa: ARG002 - the shelf's one signature
        """Money between a text that fulfils everything and one that fulfils nothing."""
        rubric = task.value.rubric
        whole = sum(criterion.cost for criterion in rubric) if rubric else task.value.wrong
        return abs(whole - task.value.right)

    def check(self, task: Task, snapshot: Snapshot) -> Iterator[Finding]:
        """The rows and the rubric."""
        empty = [row.id for split in SPLITS for row in snapshot.splits[split] if not row.label]
        if empty:
            says = f"{len(empty)} rows have no text in the column '{task.data.label}', e.g. row {empty[0]}."
            yield Finding("error", "no_text", says + " Mend them, or take them out.")
        if self.stake(task, snapshot) <= 0:
            yield absurd("a wrong text costs no more than a right one")
        names = [criterion.title for criterion in task.value.rubric]
        for name in sorted({name for name in names if names.count(name) > 1}):
            says = f"Two criteria of value.rubric are called '{name}': give one of them a 'name'."
            yield Finding("error", "two_criteria", says)
        if task.answer.json_schema:
            says = "'answer.json_schema' has no meaning for texts: use kind 'extract'."
            yield Finding("error", "bad_schema", says)
