"""What a data set is, in figures. Knows nothing of how it is shown.

After Gebru et al. (2021), "Datasheets for datasets": composition, sources, what was done, what is doubtful.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sartor.core.rows import SPLITS, Row, Snapshot
from sartor.core.task import Task
from sartor.data.kind import kind_of
from sartor.data.reading import licence_of

EDGES = (0, 10, 20, 40, 60, 80, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10000)
"""Bins of text length in characters; the last one is open."""


def make_datasheet(
    task: Task,
    snapshot: Snapshot,
    *,
    sources: Sequence[Mapping[str, Any]],
    steps: Sequence[Mapping[str, Any]],
    quarantine: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The datasheet as JSON.

    Args:
        sources: title, licence, split and number of rows of each.
        steps: what each curator did.
        quarantine: the rows taken out.
        facts: what was found about leaks, and warnings.
    """
    counts = {split: len(snapshot.splits[split]) for split in SPLITS} | {"quarantine": len(quarantine)}
    reasons = Counter(f"{entry['curator']}: {entry['reason']}" for entry in quarantine)
    lengths = {split: length_histogram(snapshot.splits[split]) for split in SPLITS}
    return {
        "task": task.name,
        "description": task.description,
        "counts": counts,
        "labels": {split: kind_of(task).counted(snapshot.splits[split]) for split in SPLITS},
        "label_list": list(snapshot.labels),
        "levels": list(snapshot.hierarchy.levels),
        "groups": {split: len({r.group for r in snapshot.splits[split] if r.group is not None}) for split in SPLITS},
        "times": {split: _span(snapshot.splits[split]) for split in SPLITS},
        "sources": [dict(source) for source in sources],
        "licence": licence_of(sources).model_dump(mode="json"),
        "curators": [dict(step) for step in steps],
        "quarantine": dict(sorted(reasons.items())),
        "edits": list(task.data.edits),
        "length": {"edges": list(EDGES), "splits": lengths},
        "leaks": {name: facts[name] for name in sorted(facts) if name not in ("levels", "warnings")},
        "warnings": list(facts.get("warnings", ())),
    }


def length_histogram(rows: Sequence[Row]) -> list[int]:
    """Rows per bin of `EDGES`, by characters of the text."""
    import numpy as np

    bins = np.searchsorted(EDGES, [len(row.text) for row in rows], side="right") - 1
    return [int(n) for n in np.bincount(bins, minlength=len(EDGES))] if len(rows) else [0] * len(EDGES)


def _span(rows: Sequence[Row]) -> list[str] | None:
    times = sorted(row.time for row in rows if row.time)
    return [times[0], times[-1]] if times else None
