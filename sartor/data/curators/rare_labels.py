"""Find labels with too few training rows to be learnt.

Dropping one takes its rows out of every split: whoever asks such a thing then gets another label, so look at the
rows before.
"""

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field

from sartor.core.rows import Row
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.curator import Bench, Curated, Taken


class Params(Settings):
    """How few are too few, and what is done."""

    min_rows: Annotated[int, Field(ge=1)] = 5
    """Labels with fewer training rows are rare."""
    action: Literal["report", "drop"] = "report"
    """drop takes their rows to quarantine."""


@plugin
def rare_labels(rows: list[Row], params: Params, bench: Bench) -> Curated:
    """Count the training rows of each label."""
    counts = Counter(row.label or "" for row in rows if bench.split(row) == "train")
    # Labels that only the test has are another matter: questions out of scope, or a fault that the check names.
    rare = {label: n for label, n in counts.items() if n < params.min_rows}
    notes = {"rare": dict(sorted(rare.items()))}
    if params.action == "report":
        return Curated(rows, notes=notes)
    kept = [row for row in rows if (row.label or "") not in rare]
    taken = [
        Taken(
            row, "rare label", f"'{row.label}' has {rare[row.label or '']} training rows, fewer than {params.min_rows}"
        )
        for row in rows
        if (row.label or "") in rare
    ]
    return Curated(kept, taken, notes)
