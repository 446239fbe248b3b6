"""Rows follow the edits of a task's labels: they get the new label, or wait for a person where none can be told.

Knows no store: the test rows follow like any others, so that what was measured before can be measured again.
"""

from collections.abc import Sequence
from dataclasses import replace

from sartor.core.relabel import carried
from sartor.core.rows import Row
from sartor.core.wheel import Relabel
from sartor.data.curator import Curated, Taken

SPLIT, RETIRED = "label split", "label retired"
"""Why a row is out."""
BEFORE = "label_before"
"""Column of a relabelled row that holds the label which it had."""


def relabelled(rows: Sequence[Row], edits: Sequence[Relabel]) -> Curated:
    """The rows under today's labels.

    Rows of a split label are taken out and wait in quarantine, where the labelling queue finds them; rows of a label
    that was retired without a successor are taken out for good.
    """
    kept: list[Row] = []
    taken: list[Taken] = []
    counts: dict[str, int] = {}
    for row in rows:
        now = carried(row.label, edits) if row.label is not None else ()
        if row.label is None or now == (row.label,):
            kept.append(row)
            continue
        if len(now) == 1:
            kept.append(replace(row, label=now[0], extra={**row.extra, BEFORE: row.label}))
        elif now:
            taken.append(Taken(row, SPLIT, f"'{row.label}' is now one of {', '.join(now)}: somebody has to say which"))
        else:
            taken.append(Taken(row, RETIRED, f"'{row.label}' is no answer any more"))
        counts[row.label] = counts.get(row.label, 0) + 1
    return Curated(kept, taken, {"changed": dict(sorted(counts.items()))})
