"""What descends from something: a walk down the ledger's edges, and the names that stand at what was found.

Knows edges and what bases say of their home; knows no files, so it does not know what stands in the rows of a data set.
Edges of runs are left out: a run is an event, and what it made names its own parents.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sartor.core.records import Artifact, Base, Dataset, Decision, Record, Report, Variant
from sartor.registry.variants import as_version
from sartor.store.ledger import Edge, Ledger, Pointer

R = TypeVar("R", bound=Record)
CACHES = ("embeddings/", "answers/")
"""Beginnings of the names of artifacts that are only kept to save work."""


@dataclass(frozen=True)
class Impact:
    """Everything that descends from the roots, the roots included."""

    roots: tuple[str, ...]
    records: Mapping[str, Record]
    """Digest -> record, in order of distance."""
    came: Mapping[str, Edge]
    """Digest -> the edge by which it was first reached; roots have none."""
    pointers: tuple[Pointer, ...]
    """Names that stand at one of them."""

    def of(self, kind: type[R]) -> dict[str, R]:
        """The records of one kind."""
        return {digest: record for digest, record in self.records.items() if isinstance(record, kind)}

    @property
    def datasets(self) -> dict[str, Dataset]:
        """Data sets."""
        return self.of(Dataset)

    @property
    def variants(self) -> dict[str, Variant]:
        """Variants."""
        return self.of(Variant)

    @property
    def bases(self) -> dict[str, Base]:
        """Bases, also those that are made from a base."""
        return self.of(Base)

    @property
    def caches(self) -> dict[str, Artifact]:
        """Artifacts that only save work: embeddings, answers."""
        return {d: a for d, a in self.of(Artifact).items() if a.name.startswith(CACHES)}

    @property
    def others(self) -> dict[str, Artifact]:
        """Harvests, standing tests, and whatever else was made."""
        plain = self.of(Artifact)
        return {d: a for d, a in plain.items() if not isinstance(a, Base | Dataset | Variant) and d not in self.caches}

    @property
    def reports(self) -> dict[str, Report]:
        """What was found about any of them."""
        return self.of(Report)

    @property
    def decisions(self) -> dict[str, Decision]:
        """What was decided on them, or by evidence from them."""
        return self.of(Decision)

    @property
    def goods(self) -> dict[str, Artifact]:
        """What may be neither released nor learned from any more: all that was made, but for caches."""
        return {d: a for d, a in self.of(Artifact).items() if d not in self.caches}

    @property
    def live(self) -> list[Pointer]:
        """Names that stand at one of the goods and can move: no versions."""
        return [p for p in self.pointers if as_version(p) is None and not p.name.startswith(".")]

    def path(self, digest: str) -> list[Edge]:
        """The edges from a root down to a record."""
        found: list[Edge] = []
        while digest in self.came:
            found.append(self.came[digest])
            digest = found[-1].parent
        return found[::-1]


def impact(ledger: Ledger, roots: Iterable[str]) -> Impact:
    """Walk down from the roots, one question to the ledger for each distance, however many records stand there."""
    start = tuple(dict.fromkeys(roots))
    distilled = _distilled(ledger)
    records: dict[str, Record] = {}
    came: dict[str, Edge] = {}
    rim: Sequence[str] = start
    while rim:
        found = ledger.get_many(rim)
        records.update((digest, found[digest]) for digest in rim if digest in found)
        edges = [edge for edge in ledger.children_of(rim) if not edge.role.startswith(("in:", "out:"))]
        edges += [edge for digest in rim for edge in _made_of(digest, found.get(digest), distilled)]
        fresh = [edge for edge in edges if edge.child not in records]
        for edge in fresh:
            came.setdefault(edge.child, edge)
        rim = list(dict.fromkeys(edge.child for edge in fresh))
    pointers = ledger.named(*(digest for digest, record in records.items() if isinstance(record, Artifact)))
    return Impact(start, records, came, tuple(pointers))


def _distilled(ledger: Ledger) -> dict[str, list[str]]:
    """Name of a base -> bases that are made from it, which say so as a fact."""
    found: dict[str, list[str]] = {}
    for base in ledger.find(Base, limit=10_000):
        home: Any = base.facts.get("home") or {}
        if base.facts.get("home_kind") == "Distilled":
            found.setdefault(str(home.get("base")), []).append(base.digest)
    return found


def _made_of(digest: str, record: Record | None, distilled: Mapping[str, list[str]]) -> list[Edge]:
    if not isinstance(record, Base):
        return []
    return [Edge("distilled", child, digest) for child in distilled.get(record.name, ()) if child != digest]
