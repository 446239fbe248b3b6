"""What a data set holds beside right answers: a teacher's probabilities, its reasons, texts that nobody labelled.

Turns columns into the arrays that recipes take, and made variants into teachers that answer any text. Trains nothing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.records import Variant
from sartor.core.rows import UNLABELLED, Snapshot
from sartor.core.task import Task
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.serve import fleet_of
from sartor.pipeline.workshop import Workshop


def named(task: Task) -> dict[str, str]:
    """The columns that bear on what is learned from a data set, where the task names any."""
    columns = {"scores": task.data.scores, "rationale": task.data.rationale}
    return {name: column for name, column in columns.items() if column}


def unlabelled(snapshot: Snapshot) -> list[str]:
    """Texts without an answer."""
    return [row.text for row in snapshot.splits.get(UNLABELLED, ())]


def rationales(task: Task, snapshot: Snapshot) -> list[str]:
    """(train rows,) why each answer is right, '' where nobody said; empty where nobody said anything.

    Raises:
        AskError: the task names a column that no training row has.
    """
    column = task.data.rationale
    if not column:
        return []
    found = [row.extra.get(column, "") for row in snapshot.splits["train"]]
    if not any(found):
        raise _no_column("data.rationale", column, snapshot)
    return found


def train_scores(task: Task, snapshot: Snapshot) -> Floats | None:
    """(train rows, labels) a teacher's probabilities, zeros for a row without any; None where the task names no column.

    Labels that the task does not have are left out, and the rest scaled to one.

    Raises:
        AskError: no training row has the column, or a cell of it is no object of label and number.
    """
    column = task.data.scores
    if not column:
        return None
    index = {label: place for place, label in enumerate(snapshot.labels)}
    rows = snapshot.splits["train"]
    found = np.zeros((len(rows), len(index)))
    for at, row in enumerate(rows):
        for label, share in _scores_in(row.extra.get(column, ""), column, row.id).items():
            if label in index:
                found[at, index[label]] = share
    total = found.sum(axis=1, keepdims=True)
    if not total.any():
        raise _no_column("data.scores", column, snapshot)
    scaled: Floats = found / np.where(total > 0, total, 1.0)
    return scaled


def teacher(
    shop: Workshop, cache: EmbeddingCache, variant: Variant
) -> tuple[Callable[[Sequence[str]], Floats] | None, Callable[[Sequence[str]], list[str]] | None]:
    """How a made variant answers any text: (its probabilities, what it writes), one of which it has not."""

    def asked(texts: Sequence[str]) -> Any:
        return fleet_of(shop, cache).probabilities([(variant.digest, text) for text in texts])

    def answer(texts: Sequence[str]) -> Floats:
        return np.stack([one.probabilities for one in asked(texts)])

    def write(texts: Sequence[str]) -> list[str]:
        return [one.written.output for one in asked(texts)]

    return (answer, None) if variant.labels else (None, write)


def _scores_in(cell: str, column: str, row: str) -> Mapping[str, float]:
    if not cell:
        return {}
    try:
        found = {str(label): float(share) for label, share in json.loads(cell).items()}
    except (ValueError, TypeError, AttributeError):
        found = {"": -1.0}
    if not all(0 <= share < float("inf") for share in found.values()):
        raise AskError(
            f"Row {row} has {cell[:60]!r} in the column '{column}' (data.scores), which is no JSON object of label and "
            'probability, such as {"refund": 0.8, "card": 0.2}. Mend it, or leave the cell empty.',
            code="bad_scores",
            param="data.scores",
        )
    return found


def _no_column(param: str, column: str, snapshot: Snapshot) -> AskError:
    there = sorted({name for row in snapshot.splits["train"] for name in row.extra})
    return AskError(
        f"'{param}' names the column '{column}', in which no training row has anything. "
        f"They have: {', '.join(there) or 'none'}.",
        code="missing_column",
        param=param,
    )
