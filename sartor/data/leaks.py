"""What stands on both sides of a split. Knows nothing of models.

Exact repeats and shared groups are certain: they stop the run or leave the training rows. Near repeats and labels
inside the text are suspicions: the rows are named, so that every metric can be given with and without them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sartor.core.errors import RefusedError
from sartor.core.rows import UNLABELLED, Row
from sartor.data.curator import Taken
from sartor.data.near import NearIndex
from sartor.data.text import key

RANK = {UNLABELLED: -1, "train": 0, "validation": 1, "test": 2}
"""Of two rows on two sides, the one of lower rank goes."""
SHOWN = 10
NEAR = 0.75
"""Jaccard similarity of character shingles from which a test row counts as nearly seen in training."""
SHINGLE = 5
"""Characters in a shingle: five see word order; a short sentence with one word changed still reaches the threshold."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Two rows that must not stand where they stand."""

    kind: str
    """`exact` or `group`."""
    loser: Row
    """The row further from the test: it goes, if the task says so."""
    winner: Row


def find_leaks(rows: Sequence[Row], split_of: Mapping[str, str]) -> list[Leak]:
    """Equal texts (after normalising) and shared groups across splits: one leak for each row that would have to go."""
    return [
        *_shared("exact", lambda row: key(row.text), rows, split_of),
        *_shared("group", lambda row: row.group, rows, split_of),
    ]


def _shared(
    kind: str, mark: Callable[[Row], str | None], rows: Sequence[Row], split_of: Mapping[str, str]
) -> list[Leak]:
    highest: dict[str, Row] = {}
    for row in rows:
        name = mark(row)
        if name is None:
            continue
        best = highest.setdefault(name, row)
        if RANK[split_of[row.id]] > RANK[split_of[best.id]]:
            highest[name] = row
    leaks = []
    for row in rows:
        best = highest[name] if (name := mark(row)) is not None else row
        if RANK[split_of[row.id]] < RANK[split_of[best.id]]:
            leaks.append(Leak(kind, row, best))
    return leaks


def refuse(leaks: Sequence[Leak], split_of: Mapping[str, str]) -> RefusedError:
    """The error that shows the rows and says what can be done."""
    exact = sum(leak.kind == "exact" for leak in leaks)
    groups = len({leak.loser.group for leak in leaks if leak.kind == "group"})
    counted = (
        [f"{exact} {'row stands' if exact == 1 else 'rows stand'} in two splits with the same text"] if exact else []
    )
    counted += [f"{groups} {'group has' if groups == 1 else 'groups have'} rows in two splits"] if groups else []
    lines = [_line(leak, split_of) for leak in leaks[:SHOWN]]
    more = [f"  … and {len(leaks) - SHOWN} more"] if len(leaks) > SHOWN else []
    advice = (
        "A test on rows that were trained on shows memory, not skill. Mend the files, or say 'data: {on_leak: "
        "drop_train}': the test rows stay, their copies leave the training rows for the quarantine."
    )
    return RefusedError(
        "\n".join([f"Making the data set was stopped: {' and '.join(counted)}.", *lines, *more, advice]),
        code="leak",
        param="data.on_leak",
    )


def _line(leak: Leak, split_of: Mapping[str, str]) -> str:
    shared = f"group {leak.loser.group!r}" if leak.kind == "group" else "same text"
    return f"  {shared}: {_shown(leak.loser, split_of)} | {_shown(leak.winner, split_of)}"


def _shown(row: Row, split_of: Mapping[str, str]) -> str:
    text = row.text if len(row.text) <= 70 else row.text[:69] + "…"
    return f"{split_of[row.id]} {row.id} {text!r} ({row.label})"


def taken_for(leaks: Sequence[Leak], split_of: Mapping[str, str]) -> list[Taken]:
    """The rows that leave, each once."""
    reasons = {"exact": "same text in a later split", "group": "its group stands in a later split"}
    first: dict[str, Taken] = {}
    for leak in leaks:
        detail = f"{split_of[leak.winner.id]} row {leak.winner.id}"
        first.setdefault(leak.loser.id, Taken(leak.loser, reasons[leak.kind], detail))
    return list(first.values())


def suspicions(rows: Sequence[Row], split_of: Mapping[str, str]) -> dict[str, Any]:
    """Test rows that are easier than they should be.

    Returns:
        `near_leaks`: ids of test rows with a near copy in training; `label_in_text`: ids of test rows whose text
        contains their own label; `near_examples`: up to ten pairs with their similarity.
    """
    test = [row for row in rows if split_of[row.id] == "test"]
    train = [row for row in rows if split_of[row.id] == "train"]
    index = NearIndex([row.text for row in (*train, *test)], threshold=NEAR, shingle=SHINGLE)
    for at in range(len(train)):
        index.add(at)
    found = {i: near for i in range(len(test)) if (near := index.closest(len(train) + i)) is not None}
    examples = [
        {"test": test[i].text[:120], "train": train[other].text[:120], "similarity": round(similarity, 3)}
        for i, (similarity, other) in sorted(found.items(), key=lambda item: (-item[1][0], item[0]))[:SHOWN]
    ]
    return {
        "near_leaks": [test[i].id for i in found],
        "near_threshold": NEAR,
        "near_examples": examples,
        "label_in_text": [row.id for row in test if label_in_text(row)],
    }


def label_in_text(row: Row) -> bool:
    """Whether the words of a row's own label stand in its text, in order and as whole words."""
    words = re.sub(r"[\W_]+", " ", key(row.label or "")).strip()
    text = re.sub(r"[\W_]+", " ", key(row.text))
    return bool(words) and f" {words} " in f" {text} "
