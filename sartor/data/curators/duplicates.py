"""Take out exact repeats: the same text (but for case and white space) with the same label in the same split.

The same text in two splits is a leak and is dealt with as one; the same text with two labels is a conflict.
"""

from sartor.core.rows import Row
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.curator import Bench, Curated, Taken
from sartor.data.text import key


class Params(Settings):
    """Nothing to set."""


@plugin
def duplicates(rows: list[Row], _params: Params, bench: Bench) -> Curated:
    """Keep the first of equal rows."""
    first: dict[tuple[str, str, str | None], Row] = {}
    kept: list[Row] = []
    taken: list[Taken] = []
    for row in rows:
        original = first.setdefault((bench.split(row), key(row.text), row.label), row)
        if original is row:
            kept.append(row)
        else:
            taken.append(Taken(row, "exact duplicate", f"same as row {original.id}"))
    return Curated(kept, taken)
