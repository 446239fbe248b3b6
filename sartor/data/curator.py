"""What a curator is given and what it hands back. Knows no curator.

A curator is a function `(rows, params, bench) -> Curated`. It sees the rows of all splits at once, because some
faults only show together; `bench.split_of` says where each row stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sartor.core.progress import Progress, silent
from sartor.core.rows import Row


@dataclass(frozen=True, slots=True)
class Taken:
    """A row that is taken out, and why."""

    row: Row
    reason: str
    """A few words, the same for all rows taken for the same cause."""
    detail: str = ""
    """What is particular to this row."""


@dataclass(frozen=True)
class Curated:
    """What a curator made of the rows: every row it was given stands in `kept` or in `taken`, changed or not."""

    kept: list[Row]
    taken: list[Taken] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    """Counts and findings for the datasheet; JSON."""


@dataclass(frozen=True)
class Bench:
    """What a curator may know beside the rows."""

    split_of: Mapping[str, str]
    """Row id -> train, validation or test."""
    seed: int = 0
    progress: Progress = silent

    def split(self, row: Row) -> str:
        """The split that a row stands in."""
        return self.split_of.get(row.id, "train")
