"""Find the same text with different labels: nobody can learn both.

Looks within each split: between splits it is a leak. Does not know which label is right.
"""

from collections import Counter, defaultdict
from typing import Literal

from sartor.core.rows import Row
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.curator import Bench, Curated, Taken
from sartor.data.text import key


class Params(Settings):
    """What is done about them."""

    action: Literal["drop", "majority", "report"] = "drop"
    """drop: all of them go; majority: rows with the most frequent label stay, unless it is a tie; report: all stay."""


@plugin
def conflicts(rows: list[Row], params: Params, bench: Bench) -> Curated:
    """Take out, thin out or only count the rows in conflict."""
    alike: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        alike[(bench.split(row), key(row.text))].append(row)
    out: dict[str, str] = {}
    found: list[dict[str, object]] = []
    for same in alike.values():
        counts = Counter(row.label or "" for row in same)
        if len(counts) < 2:
            continue
        said = ", ".join(f"{label} ({n})" for label, n in counts.most_common())
        found.append({"text": same[0].text[:120], "labels": dict(sorted(counts.items()))})
        winner = _winner(counts) if params.action == "majority" else None
        out |= {row.id: f"labelled {said}" for row in same if row.label != winner}
    notes = {"texts_in_conflict": len(found), "examples": found[:10]}
    if params.action == "report":
        return Curated(rows, notes=notes)
    kept = [row for row in rows if row.id not in out]
    taken = [Taken(row, "same text, different labels", out[row.id]) for row in rows if row.id in out]
    return Curated(kept, taken, notes)


def _winner(counts: Counter[str]) -> str | None:
    (label, most), (_, second) = counts.most_common(2)
    return label if most > second else None
