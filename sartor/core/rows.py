"""A labelled example, and the plain containers in which rooms hand examples to each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SPLITS = ("train", "validation", "test")
UNLABELLED = "unlabelled"
"""Rows whose texts alone are known. They stand beside the splits: nothing is measured on them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example. `id` is stable over re-reading the same source, so that edits can name rows."""

    id: str
    text: str
    """The input as models see it: the task's template filled with `inputs`."""
    label: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Named input columns as they came."""
    group: str | None = None
    """Rows of one group (a customer, a document) never stand on both sides of a split."""
    time: str | None = None
    """ISO 8601, if the source has one."""
    source: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    """All other columns as text: hierarchy levels, slices, recorded answers."""


@dataclass(frozen=True)
class Hierarchy:
    """Which broader classes each label belongs to."""

    levels: tuple[str, ...] = ()
    """Names of the levels, nearest to the label first (e.g. block, chapter)."""
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Label -> its class at each level, in the order of `levels`."""


@dataclass(frozen=True)
class Snapshot:
    """A data set in memory: rows by split, as they stand in an immutable `Dataset`."""

    splits: Mapping[str, Sequence[Row]]
    labels: tuple[str, ...]
    """Sorted labels of the task; position is the class index everywhere."""
    hierarchy: Hierarchy = field(default_factory=Hierarchy)

    def texts(self, split: str) -> list[str]:
        """Texts of a split, in row order."""
        return [row.text for row in self.splits[split]]

    def targets(self, split: str) -> list[int]:
        """Class index of each row of a split (-1 for a row whose label is no label of the task)."""
        index = {label: i for i, label in enumerate(self.labels)}
        return [index.get(row.label or "", -1) for row in self.splits[split]]
