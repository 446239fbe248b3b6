"""Find rows that are nearly the same as an earlier one, by MinHash: same label, same split.

Near copies across splits are leaks, and near copies with another label may be what the task is about: both stay.
"""

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field

from sartor.core.rows import SPLITS, Row
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.curator import Bench, Curated, Taken
from sartor.data.near import NearIndex

EXAMPLES = 10


class Params(Settings):
    """How near is too near, and what is done."""

    threshold: Annotated[float, Field(ge=0.3, le=1)] = 0.85
    """Jaccard similarity of the shingles of two texts from which the later one counts as a repeat."""
    shingle: Annotated[int, Field(ge=1, le=20)] = 5
    """Characters in a shingle."""
    action: Literal["report", "drop"] = "report"
    """drop takes them to quarantine."""


@plugin
def near_duplicates(rows: list[Row], params: Params, bench: Bench) -> Curated:
    """Compare every row with those kept before it."""
    like: dict[str, tuple[float, Row]] = {}
    relabelled = 0
    for split in SPLITS:
        some = [row for row in rows if bench.split(row) == split]
        index = NearIndex([row.text for row in some], threshold=params.threshold, shingle=params.shingle)
        for at, row in enumerate(some):
            near = index.closest(at)
            if near is not None and some[near[1]].label == row.label:
                like[row.id] = (near[0], some[near[1]])
                continue
            relabelled += near is not None
            index.add(at)
    found = [row for row in rows if row.id in like]
    notes = {
        "near_duplicates": dict(sorted(Counter(bench.split(row) for row in found).items())),
        "near_with_another_label": relabelled,
        "examples": [{"text": r.text[:120], "like": like[r.id][1].text[:120]} for r in found[:EXAMPLES]],
    }
    if params.action == "report":
        return Curated(rows, notes=notes)
    taken = [Taken(r, "near duplicate", f"{like[r.id][0]:.0%} like row {like[r.id][1].id}") for r in found]
    return Curated([row for row in rows if row.id not in like], taken, notes)
