"""Labels: each row has one of a closed list."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sartor.core.errors import NotFoundError, nearest
from sartor.core.predict import Floats
from sartor.core.rows import SPLITS, Row, Snapshot
from sartor.core.shelf import plugin
from sartor.core.task import Task
from sartor.core.value import cost_matrix, target_costs
from sartor.data.finding import Finding, absurd, listed
from sartor.data.reading import as_text
from sartor.data.text import key

FEW = 3
"""Training rows of a label below which there is not one for every fold."""


@plugin
class Classify:
    """What a row's answer is, and what can be wrong with it."""

    written = False

    def truth(self, task: Task, cell: Any) -> str | None:  # noqa: ARG002 - the shelf's one signature
        """The label of a cell; None for an empty one."""
        return (as_text(cell) or "").strip() or None

    def read(self, task: Task, text: str) -> str:  # noqa: ARG002 - labels are told by whoever knows the data set
        """The label as it is."""
        return text

    def labels(self, task: Task, train: Sequence[Row]) -> tuple[str, ...]:
        """The labels of the task: those that it names, else those that training rows have."""
        return tuple(sorted(set(task.labels) or {row.label or "" for row in train}))

    def stratum(self, row: Row) -> str:
        """Its label."""
        return row.label or ""

    def counted(self, rows: Sequence[Row]) -> dict[str, int]:
        """Rows of each label."""
        return dict(sorted(Counter(row.label or "" for row in rows).items()))

    def stake(self, task: Task, snapshot: Snapshot) -> float:
        """Mean money between a right and a wrong answer."""
        return _stake(task, snapshot)

    def check(self, task: Task, snapshot: Snapshot) -> Iterator[Finding]:
        """Everything that labels and their costs can have wrong."""
        yield from _labels(task, snapshot)
        yield from _rows_per_label(snapshot)
        yield from _spellings(snapshot)
        yield from _hierarchy(task, snapshot)
        yield from _costs(task, snapshot)


def _labels(task: Task, snapshot: Snapshot) -> Iterator[Finding]:
    counts = {split: Counter(row.label or "" for row in snapshot.splits[split]) for split in SPLITS}
    strange = {split: sorted(set(counts[split]) - set(snapshot.labels)) for split in SPLITS}
    everywhere = sorted({label for labels in strange.values() for label in labels})
    for label in snapshot.labels:
        if not counts["train"][label]:
            near = nearest(label, everywhere)
            hint = f" The rows have '{near}': is that meant?" if near else ""
            yield Finding(
                "error",
                "label_without_rows",
                f"The label '{label}' has no training row, so it cannot be learnt.{hint} Take it out of "
                "'labels', or add rows.",
            )
    for split in ("train", "validation"):
        for label in strange[split]:
            yield Finding("error", "label_not_in_task", _strange(label, counts[split][label], split, snapshot))
    for label in sorted(set(strange["test"]) - set(strange["train"]) - set(strange["validation"])):
        yield Finding("warning", "label_not_in_task", _strange(label, counts["test"][label], "test", snapshot))
    for place, named in (("fallback", task.fallback), ("incumbent.label", task.incumbent.label)):
        if named is not None and named not in snapshot.labels:
            yield Finding("error", "unknown_label", f"'{place}' names '{named}', {_no_label(named, snapshot)}")


def _strange(label: str, rows: int, split: str, snapshot: Snapshot) -> str:
    outcome = "No answer can be right for them." if split == "test" else "They cannot be trained on."
    return f"{rows} {split} rows have the label '{label}', {_no_label(label, snapshot)} {outcome}"


def _no_label(label: str, snapshot: Snapshot) -> str:
    near = nearest(label, snapshot.labels)
    return "which is no label of the task." + (f" Did you mean '{near}'?" if near else " Add it to 'labels'.")


def _rows_per_label(snapshot: Snapshot) -> Iterator[Finding]:
    if len(snapshot.labels) < 2:
        only = f"only '{snapshot.labels[0]}'" if snapshot.labels else "none"
        yield Finding(
            "error",
            "one_label",
            f"A classifier needs at least two labels; there is {only}. Is data.label the right column?",
        )
        return
    train = Counter(row.label for row in snapshot.splits["train"])
    few = [label for label in snapshot.labels if 0 < train[label] < FEW]
    if few:
        yield Finding(
            "warning",
            "label_with_few_rows",
            f"{listed(few)}: fewer than {FEW} training rows each. Nothing can be chosen or calibrated for them. "
            "Add rows, merge labels, or use the curator rare_labels.",
        )
    for split in ("validation", "test"):
        there = {row.label for row in snapshot.splits[split]}
        unseen = [label for label in snapshot.labels if label not in there]
        if unseen and there:
            yield Finding(
                "warning" if split == "test" else "info",
                f"label_without_{split}_rows",
                f"No {split} row has {listed(unseen)}: how well that is answered is not measured.",
            )


def _spellings(snapshot: Snapshot) -> Iterator[Finding]:
    """Labels that differ in case, spaces or punctuation alone."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in snapshot.labels:
        alike[re.sub(r"[\W_]+", "", key(label)) or label].append(label)
    for same in alike.values():
        if len(same) > 1:
            yield Finding(
                "warning",
                "labels_alike",
                f"{listed(same)} differ only in case, spaces or punctuation: are they one label?",
            )


def _hierarchy(task: Task, snapshot: Snapshot) -> Iterator[Finding]:
    """Each label in one class of every level, and each class in one class of the next."""
    rows = [row for split in SPLITS for row in snapshot.splits[split]]
    chain = (task.data.label, *task.data.levels)
    for child, parent in pairwise(chain):
        seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row in rows:
            below = row.label or "" if child == task.data.label else row.extra.get(child, "")
            seen[below][row.extra.get(parent, "")] += 1
        for name, parents in sorted(seen.items()):
            if len(parents) > 1:
                shown = ", ".join(f"'{p or '(empty)'}' ({n} rows)" for p, n in parents.most_common(4))
                yield Finding(
                    "error",
                    "two_parents",
                    f"In the hierarchy, the {child} '{name}' stands in more than one {parent}: {shown}. "
                    "Costs by level need one: mend the rows.",
                )


def _costs(task: Task, snapshot: Snapshot) -> Iterator[Finding]:
    value = task.value
    try:
        matrix = cost_matrix(value, snapshot.labels, snapshot.hierarchy)
    except NotFoundError as error:
        yield Finding("error", error.code, error.message)
        return
    if value.wrong <= value.right:
        yield absurd(f"a wrong answer ({value.wrong:g}) costs no more than a right one ({value.right:g})")
    for item in value.confusions:
        if item.true == item.answer:
            yield absurd(f"the confusion of '{item.true}' with itself is no mistake; what is right costs 'right'")
        elif item.cost < value.right:
            yield absurd(
                f"answering '{item.answer}' for '{item.true}' costs {item.cost:g}, less than being right "
                f"({value.right:g})"
            )
    costs = [(name, value.levels[name]) for name in snapshot.hierarchy.levels if name in value.levels]
    steps = [("right", value.right), *costs, ("wrong", value.wrong)]
    for (near, cheap), (far, dear) in pairwise(steps):
        if cheap > dear and costs:
            yield absurd(f"'{far}' costs {dear:g} and '{near}' {cheap:g}, although '{far}' is farther from the truth")
    yield from _escalation(task, matrix)


def _escalation(task: Task, matrix: Floats) -> Iterator[Finding]:
    escalate = task.value.escalate
    if escalate is None or len(matrix) < 2:
        return
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    if escalate.price >= off.max():
        yield absurd(
            f"asking {escalate.to} costs {escalate.price:g} {task.value.currency}, no less than the dearest mistake "
            f"({off.max():g}): nothing would ever be escalated"
        )
    elif target_costs(task.value, matrix).min() >= off.max() and escalate.column is None:
        yield Finding(
            "warning",
            "useless_escalation",
            f"Asking {escalate.to} costs {escalate.price:g} and errs on {escalate.error_rate:.0%} of the questions: "
            "with its errors counted it never pays.",
        )


def _stake(task: Task, snapshot: Snapshot) -> float:
    """Mean money between a right and a wrong answer; unknown names are reported elsewhere."""
    try:
        matrix = cost_matrix(task.value, snapshot.labels, snapshot.hierarchy)
    except NotFoundError:
        return abs(task.value.wrong - task.value.right)
    size = len(matrix)
    return float((matrix.sum() - matrix.trace()) / max(size * (size - 1), 1) - matrix.trace() / max(size, 1))
